package io.peft4j.models.bert;

import io.peft4j.models.ConfigValues;
import java.util.Set;

/**
 * What a BERT or RoBERTa configuration says, defaults filled in.
 *
 * @param vocabulary {@code vocab_size}
 * @param hidden {@code hidden_size}
 * @param layers {@code num_hidden_layers}
 * @param heads {@code num_attention_heads}, a divisor of {@code hidden}
 * @param intermediate {@code intermediate_size}
 * @param positions {@code max_position_embeddings}
 * @param tokenTypes {@code type_vocab_size}
 * @param epsilon {@code layer_norm_eps}
 * @param tanhGelu whether {@code hidden_act} is GELU by way of a hyperbolic tangent
 * @param hiddenDropout {@code hidden_dropout_prob}
 * @param attentionDropout {@code attention_probs_dropout_prob}
 * @param classifierDropout {@code classifier_dropout}, else {@code hidden_dropout_prob}
 * @param labels number of classes
 * @param meanPooling whether a head classifies the mean of all tokens ({@code classifier_pooling}
 *     is {@code mean}) and not what the pooler makes of the first; ModernBERT's key, which
 *     transformers does not know for BERT
 */
public record BertConfig(
    int vocabulary,
    int hidden,
    int layers,
    int heads,
    int intermediate,
    int positions,
    int tokenTypes,
    double epsilon,
    boolean tanhGelu,
    double hiddenDropout,
    double attentionDropout,
    double classifierDropout,
    int labels,
    boolean meanPooling) {
  private static final Set<String> EXACT = Set.of("gelu", "gelu_python");
  private static final Set<String> ACTIVATIONS =
      Set.of("gelu", "gelu_python", "gelu_new", "gelu_pytorch_tanh");

  /**
   * Reads a configuration.
   *
   * @param config the keys of {@code config.json}
   * @param vocabulary vocabulary size where the key is absent
   * @return the values
   * @throws io.peft4j.InvalidConfigException if a value is wrong or asks for what is not
   *     implemented
   */
  public static BertConfig read(ConfigValues config, int vocabulary) {
    config.refuse("is_decoder", "add_cross_attention", "is_encoder_decoder", "pruned_heads");
    config.choice("position_embedding_type", "absolute", Set.of("absolute"));
    int hidden = config.size("hidden_size", 768);
    int heads = config.size("num_attention_heads", 12);
    if (hidden % heads != 0) {
      throw config.wrong("num_attention_heads", "a divisor of hidden_size, " + hidden);
    }
    double hiddenDropout = config.dropout("hidden_dropout_prob", 0.1);
    return new BertConfig(
        config.size("vocab_size", vocabulary),
        hidden,
        config.layers("num_hidden_layers", 12),
        heads,
        config.size("intermediate_size", 3072),
        config.size("max_position_embeddings", 512),
        config.size("type_vocab_size", 2),
        config.fraction("layer_norm_eps", 1e-12),
        !EXACT.contains(config.choice("hidden_act", "gelu", ACTIVATIONS)),
        hiddenDropout,
        config.dropout("attention_probs_dropout_prob", 0.1),
        config.dropout("classifier_dropout", hiddenDropout),
        config.labels(),
        config.choice("classifier_pooling", "cls", Set.of("cls", "mean")).equals("mean"));
  }

  /**
   * Checks that the configuration suits a task.
   *
   * @param task what the model does
   * @param config where the values were read from
   * @return this
   * @throws io.peft4j.InvalidConfigException if answers are to be found with other than two labels,
   *     which stand for beginning and end
   */
  public BertConfig checkedFor(BertTask task, ConfigValues config) {
    if (task == BertTask.QUESTION_ANSWERING && labels != 2) {
      throw config.wrong(
          config.has("id2label") ? "id2label" : "num_labels",
          "of two labels for question answering, one for the beginning of an answer and one for its"
              + " end");
    }
    return this;
  }
}
