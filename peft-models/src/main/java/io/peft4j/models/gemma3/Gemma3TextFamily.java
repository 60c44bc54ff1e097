package io.peft4j.models.gemma3;

import io.peft4j.models.ConfigValues;
import io.peft4j.models.decoder.DecoderConfig;
import io.peft4j.models.decoder.DecoderConfig.Sizes;
import io.peft4j.models.decoder.DecoderFamily;
import io.peft4j.models.decoder.DecoderReader;
import io.peft4j.models.decoder.Rope;
import io.peft4j.models.decoder.RopeReader;
import java.util.List;

/**
 * Gemma 3 for text alone. Bounded scores are refused: transformers reads their key for this family
 * but does not compute them.
 */
public final class Gemma3TextFamily extends DecoderFamily {
  private static final Sizes DEFAULTS = new Sizes(262208, 2304, 9216, 26, 8, 4, 256, 131072, 1e-6);

  /** The family. */
  public Gemma3TextFamily() {
    super("gemma3_text", "Gemma3", "Gemma3Text");
  }

  @Override
  public String library() {
    return "transformers.models.gemma3.modeling_gemma3";
  }

  @Override
  protected DecoderConfig read(ConfigValues config) {
    config.refuse("use_bidirectional_attention", "attn_logit_softcapping", "mlp_bias");
    DecoderConfig.Builder builder = DecoderReader.read(config, modelType(), DEFAULTS);
    Sizes sizes = builder.sizes();
    if (!config.has("pad_token_id") && !config.isNull("pad_token_id")) {
      builder.padding(0);
    }
    boolean bias = config.flag("attention_bias", false);
    int pattern = config.size("sliding_window_pattern", 6);
    List<Boolean> sliding =
        DecoderReader.sliding(config, sizes.layers(), layer -> (layer + 1) % pattern != 0);
    RopeReader reader = new RopeReader(config, sizes.headSize(), sizes.positions());
    Rope narrow = reader.readLayered(true);
    Rope wide = reader.readLayered(false);
    return builder
        .gemma()
        .headNorms()
        .activation(DecoderReader.activation(config, "hidden_activation", "gelu_pytorch_tanh"))
        .biases(bias, bias, false)
        .windows(DecoderReader.windows(config, sliding, 4096))
        .ropes(sliding.stream().map(slides -> slides ? narrow : wide).toList())
        .scores(Math.pow(config.positive("query_pre_attn_scalar", 256), -0.5), 0)
        .finalSoftcap(DecoderReader.bound(config, "final_logit_softcapping", 0))
        .tied(config.flag("tie_word_embeddings", true))
        .build();
  }
}
