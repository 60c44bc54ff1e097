package io.peft4j.models.decoder;

import io.peft4j.models.ConfigValues;
import io.peft4j.models.decoder.DecoderConfig.Sizes;
import io.peft4j.torch.Activation;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;

/** Reads what the configurations of all families have in common. */
public final class DecoderReader {
  private static final String TYPES = "layer_types";
  private static final String SLIDING = "sliding_attention";
  private static final String FULL = "full_attention";
  private static final String WINDOW = "sliding_window";

  private static final Map<String, Activation> ACTIVATIONS =
      Map.of(
          "silu", Activation.SILU,
          "gelu", Activation.GELU,
          "gelu_new", Activation.GELU_TANH,
          "gelu_pytorch_tanh", Activation.GELU_TANH,
          "relu", Activation.RELU);

  private DecoderReader() {}

  /**
   * Reads the sizes, the activation, the dropout of attention weights, whether the embedding is
   * tied, and the padding token.
   *
   * @param config the keys of {@code config.json}
   * @param modelType Hugging Face's name of the family
   * @param defaults the sizes where the configuration has none
   * @return a configuration to go on with; angles have to be set
   * @throws io.peft4j.InvalidConfigException if a value is wrong or asks for what is not
   *     implemented
   */
  public static DecoderConfig.Builder read(ConfigValues config, String modelType, Sizes defaults) {
    config.refuse("is_encoder_decoder", "add_cross_attention", "pruned_heads");
    DecoderConfig.Builder builder = new DecoderConfig.Builder(modelType, sizes(config, defaults));
    builder.activation(activation(config, "hidden_act", "silu"));
    builder.dropout(config.dropout("attention_dropout", 0), 0);
    builder.tied(config.flag("tie_word_embeddings", false));
    int padding = config.tokenOrNone("pad_token_id", -1);
    return builder.padding(padding < 0 ? null : padding);
  }

  private static Sizes sizes(ConfigValues config, Sizes defaults) {
    int hidden = config.size("hidden_size", defaults.hidden());
    int heads = config.size("num_attention_heads", defaults.heads());
    int absentKeys =
        defaults.keyValueHeads() == 0 || config.isNull("num_key_value_heads")
            ? heads
            : defaults.keyValueHeads();
    int keyValueHeads = config.size("num_key_value_heads", absentKeys);
    if (heads % keyValueHeads != 0) {
      throw config.wrong("num_key_value_heads", "a divisor of num_attention_heads, " + heads);
    }
    boolean derived = !config.has("head_dim") && defaults.headSize() == 0;
    if (derived && hidden % heads != 0) {
      throw config.wrong("num_attention_heads", "a divisor of hidden_size, " + hidden);
    }
    int headSize = derived ? hidden / heads : config.size("head_dim", defaults.headSize());
    if (headSize % 2 != 0) {
      throw config.wrong(
          derived ? "num_attention_heads" : "head_dim",
          "such that a head's size is even; it would be " + headSize);
    }
    return new Sizes(
        config.size("vocab_size", defaults.vocabulary()),
        hidden,
        config.size("intermediate_size", defaults.intermediate()),
        config.layers("num_hidden_layers", defaults.layers()),
        heads,
        keyValueHeads,
        headSize,
        config.size("max_position_embeddings", defaults.positions()),
        config.fraction("rms_norm_eps", defaults.epsilon()));
  }

  /**
   * Reads an activation.
   *
   * @param config the keys of {@code config.json}
   * @param key the key
   * @param absent the name of what is meant where the key is absent
   * @return the activation
   * @throws io.peft4j.InvalidConfigException if it is not implemented
   */
  public static Activation activation(ConfigValues config, String key, String absent) {
    String name = config.choice(key, absent, ACTIVATIONS.keySet());
    return Objects.requireNonNull(ACTIVATIONS.get(name));
  }

  /**
   * A bound, of which null says that there is none.
   *
   * @param config the keys of {@code config.json}
   * @param key the key
   * @param absent what is meant where the key is absent; 0 for none
   * @return the bound; 0 for none
   * @throws io.peft4j.InvalidConfigException if it is not a number above 0
   */
  public static double bound(ConfigValues config, String key, double absent) {
    return config.isNull(key) ? 0 : config.positive(key, absent);
  }

  /**
   * Reads {@code sliding_window} of families that have it in all layers or in none.
   *
   * @param config the keys of {@code config.json}
   * @param layers number of layers
   * @param absent what is meant where the key is absent; 0 for none
   * @return a window for each layer; 0 for none
   * @throws io.peft4j.InvalidConfigException if it is not a size, or layers are to differ
   */
  public static List<Integer> windows(ConfigValues config, int layers, int absent) {
    config.refuse(TYPES);
    int window = config.isNull(WINDOW) ? 0 : config.size(WINDOW, absent);
    return Collections.nCopies(layers, window);
  }

  /**
   * Reads which layers have a window: {@code layer_types}, or else a rule.
   *
   * @param config the keys of {@code config.json}
   * @param layers number of layers
   * @param rule the layers with a window where there are no {@code layer_types}
   * @return for each layer whether it has a window
   * @throws io.peft4j.InvalidConfigException if types are neither {@code full_attention} nor {@code
   *     sliding_attention}, or not one for each layer
   */
  public static List<Boolean> sliding(ConfigValues config, int layers, IntPredicate rule) {
    return config.has(TYPES)
        ? config.choices(TYPES, layers, Set.of(FULL, SLIDING)).stream()
            .map(SLIDING::equals)
            .toList()
        : IntStream.range(0, layers).mapToObj(rule::test).toList();
  }

  /**
   * Reads the window of the layers that have one.
   *
   * @param config the keys of {@code config.json}
   * @param sliding for each layer whether it has a window
   * @param absent {@code sliding_window} where the key is absent
   * @return a window for each layer; 0 for none
   * @throws io.peft4j.InvalidConfigException if layers are to have a window and it is no size
   */
  public static List<Integer> windows(ConfigValues config, List<Boolean> sliding, int absent) {
    if (sliding.contains(true) && config.isNull(WINDOW)) {
      throw config.wrong(WINDOW, "a whole number, as there are layers of " + SLIDING);
    }
    int window = config.size(WINDOW, absent);
    return sliding.stream().map(slides -> slides ? window : 0).toList();
  }

  /**
   * Reads the windows of Qwen's models: {@code use_sliding_window}, and {@code layer_types} or else
   * {@code max_window_layers}, the number of layers at the beginning that have no window.
   *
   * @param config the keys of {@code config.json}
   * @param layers number of layers
   * @return a window for each layer; 0 for none
   * @throws io.peft4j.InvalidConfigException if a value is wrong or the two contradict each other
   */
  public static List<Integer> switchedWindows(ConfigValues config, int layers) {
    boolean used = config.flag("use_sliding_window", false) && !config.isNull(WINDOW);
    // More layers than there are is what models without windows have.
    int first = config.token("max_window_layers", 28);
    List<Boolean> sliding = sliding(config, layers, layer -> used && layer >= first);
    if (sliding.contains(true) && !used) {
      throw config.wrong(
          TYPES, "without " + SLIDING + ", as use_sliding_window or sliding_window is not set");
    }
    return used ? windows(config, sliding, 4096) : Collections.nCopies(layers, 0);
  }
}
