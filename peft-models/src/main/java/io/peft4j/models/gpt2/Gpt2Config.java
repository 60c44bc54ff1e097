package io.peft4j.models.gpt2;

import io.peft4j.models.ConfigValues;
import io.peft4j.models.decoder.DecoderReader;
import io.peft4j.models.decoder.DecoderTask;
import io.peft4j.models.decoder.HeadConfig;
import io.peft4j.torch.Activation;

/**
 * What a GPT-2 configuration says, defaults filled in.
 *
 * @param vocabulary {@code vocab_size}
 * @param positions {@code n_positions}
 * @param hidden {@code n_embd}
 * @param layers {@code n_layer}
 * @param heads {@code n_head}, a divisor of {@code hidden}
 * @param intermediate {@code n_inner}
 * @param activation {@code activation_function}
 * @param epsilon {@code layer_norm_epsilon}
 * @param scaled {@code scale_attn_weights}
 * @param scaledByLayer {@code scale_attn_by_inverse_layer_idx}
 * @param residualDropout {@code resid_pdrop}
 * @param embeddingDropout {@code embd_pdrop}
 * @param attentionDropout {@code attn_pdrop}
 * @param head what is done with the hidden states
 */
record Gpt2Config(
    int vocabulary,
    int positions,
    int hidden,
    int layers,
    int heads,
    int intermediate,
    Activation activation,
    double epsilon,
    boolean scaled,
    boolean scaledByLayer,
    double residualDropout,
    double embeddingDropout,
    double attentionDropout,
    HeadConfig head) {

  static Gpt2Config read(ConfigValues config, DecoderTask task) {
    config.refuse("is_encoder_decoder", "add_cross_attention", "pruned_heads");
    int hidden = config.size(either(config, "n_embd", "hidden_size"), 768);
    String headsKey = either(config, "n_head", "num_attention_heads");
    int heads = config.size(headsKey, 12);
    if (hidden % heads != 0) {
      throw config.wrong(headsKey, "a divisor of the hidden size, " + hidden);
    }
    return new Gpt2Config(
        config.size("vocab_size", 50257),
        config.size(either(config, "n_positions", "max_position_embeddings"), 1024),
        hidden,
        config.layers(either(config, "n_layer", "num_hidden_layers"), 12),
        heads,
        config.size("n_inner", 4 * hidden),
        DecoderReader.activation(config, "activation_function", "gelu_new"),
        config.fraction("layer_norm_epsilon", 1e-5),
        config.flag("scale_attn_weights", true),
        config.flag("scale_attn_by_inverse_layer_idx", false),
        config.dropout("resid_pdrop", 0.1),
        config.dropout("embd_pdrop", 0.1),
        config.dropout("attn_pdrop", 0.1),
        new HeadConfig(
            task,
            config.flag("tie_word_embeddings", true),
            0,
            config.labels(),
            task == DecoderTask.SEQUENCE_CLASSIFICATION
                ? config.tokenOrNone("pad_token_id", -1)
                : -1,
            task == DecoderTask.TOKEN_CLASSIFICATION ? headDropout(config) : 0));
  }

  /** transformers' rule for heads over tokens; GPT-2's own configuration has neither key. */
  private static double headDropout(ConfigValues config) {
    return config.dropout("classifier_dropout", config.dropout("hidden_dropout", 0.1));
  }

  /** transformers takes its general names where a configuration has them. */
  private static String either(ConfigValues config, String own, String general) {
    return config.has(general) && !config.has(own) ? general : own;
  }

  /** The factor on the attention scores of a layer. */
  double scale(int layer) {
    double scale = scaled ? 1 / Math.sqrt((double) hidden / heads) : 1;
    return scaledByLayer ? scale / (layer + 1) : scale;
  }
}
