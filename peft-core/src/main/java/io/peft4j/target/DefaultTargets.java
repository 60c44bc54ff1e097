package io.peft4j.target;

import io.peft4j.InvalidConfigException;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

/** The layers that PEFT adapts with low-rank methods where none are named. */
public final class DefaultTargets {
  private static final List<String> PROJECTIONS = List.of("q_proj", "v_proj");
  private static final List<String> BERT = List.of("query", "value");

  /** By {@code model_type}. */
  private static final Map<String, List<String>> DEFAULTS =
      Map.ofEntries(
          Map.entry("bert", BERT),
          Map.entry("roberta", BERT),
          Map.entry("xlm-roberta", BERT),
          Map.entry("llama", PROJECTIONS),
          Map.entry("mistral", PROJECTIONS),
          Map.entry("qwen2", PROJECTIONS),
          Map.entry("qwen3", PROJECTIONS),
          Map.entry("gemma", PROJECTIONS),
          Map.entry("gemma2", PROJECTIONS),
          Map.entry("gemma3_text", PROJECTIONS),
          Map.entry("gpt2", List.of("c_attn")));

  private DefaultTargets() {}

  /**
   * The layers for a model.
   *
   * @param layout the model
   * @return ends of paths
   * @throws InvalidConfigException if there is no default for such models
   */
  public static Targets of(ModelLayout layout) {
    List<String> names = DEFAULTS.get(layout.modelType());
    if (names == null) {
      throw new InvalidConfigException(
          "target_modules must be given for a model of type '"
              + layout.modelType()
              + "'; defaults are known for "
              + new TreeSet<>(DEFAULTS.keySet()));
    }
    return Targets.names(names);
  }
}
