package io.peft4j.ia3;

import io.peft4j.InvalidConfigException;
import io.peft4j.TaskType;
import io.peft4j.spi.SavedModules;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.Matches;
import io.peft4j.target.ModelLayout;
import io.peft4j.target.TargetMatcher;
import io.peft4j.target.TargetSelection;
import io.peft4j.target.Targets;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** What a configuration means on a model: PEFT's defaults filled in. */
final class Ia3Targets {
  private static final Choice BERT = new Choice(List.of("key", "value"), "output.dense");
  private static final Choice KEYS = new Choice(List.of("k_proj", "v_proj"), "down_proj");
  private static final Choice QUERIES = new Choice(List.of("q_proj", "v_proj"), "down_proj");

  /** What PEFT takes where nothing is named, by {@code model_type}. */
  private static final Map<String, Choice> DEFAULTS =
      Map.of(
          "bert", BERT,
          "roberta", BERT,
          "llama", KEYS,
          "mistral", KEYS,
          "qwen2", QUERIES,
          "qwen3", QUERIES,
          "gemma2", QUERIES,
          "gemma3_text", QUERIES,
          "gpt2", new Choice(List.of("c_attn"), "mlp.c_proj"));

  private Ia3Targets() {}

  private record Choice(List<String> others, String feedforward) {
    Targets all() {
      return Targets.names(Stream.concat(others.stream(), Stream.of(feedforward)).toList());
    }
  }

  static TargetSelection selection(Ia3Config config, ModelLayout layout) {
    TargetSelection.Builder selection =
        TargetSelection.builder()
            .targets(
                config.targetModules().orElseGet(() -> defaults(Ia3Config.TARGETS, layout).all()))
            .modulesToSave(SavedModules.names(config.modulesToSave(), config.taskType()))
            .sequenceClassification(config.taskType().filter(TaskType.SEQ_CLS::equals).isPresent());
    config.excludeModules().ifPresent(selection::exclude);
    return selection.build();
  }

  /** The names or expression that feed-forward layers are chosen by. */
  static Targets feedforward(Ia3Config config, ModelLayout layout) {
    if (config.namesFeedforward()) {
      return config.feedforwardModules().orElse(Targets.names());
    }
    return Targets.names(defaults(Ia3Config.FEEDFORWARD, layout).feedforward);
  }

  /** The adapted layers whose input is multiplied: names are ends of paths, as PEFT takes them. */
  static Set<LayerSpec> feedforwardLayers(Targets chosen, Matches matches, ModelLayout layout) {
    if (chosen instanceof Targets.Names names) {
      return matches.layers().stream()
          .filter(layer -> names.names().stream().anyMatch(layer.path()::endsWith))
          .collect(Collectors.toSet());
    }
    Set<LayerSpec> layers =
        new HashSet<>(
            TargetMatcher.match(layout, TargetSelection.builder().targets(chosen).build())
                .layers());
    layers.retainAll(matches.layers());
    return layers;
  }

  private static Choice defaults(String field, ModelLayout layout) {
    Choice choice = DEFAULTS.get(layout.modelType());
    if (choice == null) {
      throw new InvalidConfigException(
          field
              + " must be given for a model of type '"
              + layout.modelType()
              + "'; defaults are known for "
              + new TreeSet<>(DEFAULTS.keySet()));
    }
    return choice;
  }
}
