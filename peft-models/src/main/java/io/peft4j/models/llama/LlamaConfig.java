package io.peft4j.models.llama;

import io.peft4j.models.ConfigValues;
import java.util.Set;

/**
 * What a Llama configuration says, defaults filled in.
 *
 * @param vocabulary {@code vocab_size}
 * @param hidden {@code hidden_size}
 * @param intermediate {@code intermediate_size}
 * @param layers {@code num_hidden_layers}
 * @param heads {@code num_attention_heads}
 * @param keyValueHeads {@code num_key_value_heads}, a divisor of {@code heads}
 * @param headSize {@code head_dim}, even
 * @param positions {@code max_position_embeddings}
 * @param epsilon {@code rms_norm_eps}
 * @param theta {@code rope_theta}
 * @param attentionBias {@code attention_bias}
 * @param mlpBias {@code mlp_bias}
 * @param attentionDropout {@code attention_dropout}
 * @param tied {@code tie_word_embeddings}
 */
record LlamaConfig(
    int vocabulary,
    int hidden,
    int intermediate,
    int layers,
    int heads,
    int keyValueHeads,
    int headSize,
    int positions,
    double epsilon,
    double theta,
    boolean attentionBias,
    boolean mlpBias,
    double attentionDropout,
    boolean tied) {

  static LlamaConfig read(ConfigValues config) {
    config.choice("hidden_act", "silu", Set.of("silu"));
    config.refuse("is_encoder_decoder", "add_cross_attention", "pruned_heads");
    int hidden = config.size("hidden_size", 4096);
    int heads = config.size("num_attention_heads", 32);
    if (hidden % heads != 0) {
      throw config.wrong("num_attention_heads", "a divisor of hidden_size, " + hidden);
    }
    int keyValueHeads = config.size("num_key_value_heads", heads);
    if (heads % keyValueHeads != 0) {
      throw config.wrong("num_key_value_heads", "a divisor of num_attention_heads, " + heads);
    }
    int headSize = config.size("head_dim", hidden / heads);
    if (headSize % 2 != 0) {
      throw config.wrong(
          config.has("head_dim") ? "head_dim" : "num_attention_heads",
          "such that a head's size is even; it would be " + headSize);
    }
    return new LlamaConfig(
        config.size("vocab_size", 32000),
        hidden,
        config.size("intermediate_size", 11008),
        config.layers("num_hidden_layers", 32),
        heads,
        keyValueHeads,
        headSize,
        config.size("max_position_embeddings", 2048),
        config.fraction("rms_norm_eps", 1e-6),
        theta(config),
        config.flag("attention_bias", false),
        config.flag("mlp_bias", false),
        config.dropout("attention_dropout", 0),
        config.flag("tie_word_embeddings", false));
  }

  /** transformers 4 has rope_theta and perhaps rope_scaling, transformers 5 has rope_parameters. */
  private static double theta(ConfigValues config) {
    double theta = config.positive("rope_theta", 10000);
    refusePartial(config);
    for (String key : new String[] {"rope_scaling", "rope_parameters"}) {
      ConfigValues rope = config.inner(key);
      rope.choice("rope_type", "default", Set.of("default"));
      rope.choice("type", "default", Set.of("default"));
      refusePartial(rope);
      theta = rope.positive("rope_theta", theta);
    }
    return theta;
  }

  private static void refusePartial(ConfigValues config) {
    if (config.positive("partial_rotary_factor", 1) != 1) {
      throw config.wrong("partial_rotary_factor", "1, the only one implemented");
    }
  }
}
