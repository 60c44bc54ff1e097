package io.peft4j.models.gemma2;

import io.peft4j.models.ConfigValues;
import io.peft4j.models.decoder.DecoderConfig;
import io.peft4j.models.decoder.DecoderConfig.Sizes;
import io.peft4j.models.decoder.DecoderFamily;
import io.peft4j.models.decoder.DecoderReader;
import io.peft4j.models.decoder.RopeReader;
import java.util.List;

/**
 * Gemma 2. Scores are bounded as the configuration says; transformers does so too unless it is made
 * to attend by another way than its default for this family, {@code eager}.
 */
public final class Gemma2Family extends DecoderFamily {
  private static final Sizes DEFAULTS = new Sizes(256000, 2304, 9216, 26, 8, 4, 256, 8192, 1e-6);

  /** The family. */
  public Gemma2Family() {
    super("gemma2", "Gemma2", "Gemma2");
  }

  @Override
  protected DecoderConfig read(ConfigValues config) {
    config.refuse("use_bidirectional_attention", "mlp_bias");
    DecoderConfig.Builder builder = DecoderReader.read(config, modelType(), DEFAULTS);
    Sizes sizes = builder.sizes();
    if (!config.has("pad_token_id") && !config.isNull("pad_token_id")) {
      builder.padding(0);
    }
    boolean bias = config.flag("attention_bias", false);
    List<Boolean> sliding = DecoderReader.sliding(config, sizes.layers(), layer -> layer % 2 == 0);
    double scale = Math.pow(config.positive("query_pre_attn_scalar", 256), -0.5);
    return builder
        .gemma()
        .activation(DecoderReader.activation(config, "hidden_activation", "gelu_pytorch_tanh"))
        .biases(bias, bias, false)
        .windows(DecoderReader.windows(config, sliding, 4096))
        .scores(scale, DecoderReader.bound(config, "attn_logit_softcapping", 50))
        .finalSoftcap(DecoderReader.bound(config, "final_logit_softcapping", 30))
        .tied(config.flag("tie_word_embeddings", true))
        .rope(new RopeReader(config, sizes.headSize(), sizes.positions()).read())
        .build();
  }
}
