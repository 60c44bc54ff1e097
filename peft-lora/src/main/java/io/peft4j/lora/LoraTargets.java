package io.peft4j.lora;

import io.peft4j.InvalidConfigException;
import io.peft4j.TaskType;
import io.peft4j.target.ModelLayout;
import io.peft4j.target.TargetSelection;
import io.peft4j.target.Targets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

/** What a configuration means on a model: PEFT's defaults filled in. */
final class LoraTargets {
  private static final List<String> PROJECTIONS = List.of("q_proj", "v_proj");
  private static final List<String> BERT = List.of("query", "value");

  /** The layers that PEFT adapts where none are named, by {@code model_type}. */
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

  private LoraTargets() {}

  static TargetSelection selection(LoraConfig config, ModelLayout layout) {
    TargetSelection.Builder selection =
        TargetSelection.builder()
            .targets(config.targetModules().orElseGet(() -> defaults(layout)))
            .layersToTransform(config.layersToTransform())
            .layersPattern(config.layersPattern())
            .modulesToSave(modulesToSave(config))
            .pattern(config.rankPattern())
            .pattern(config.alphaPattern())
            .sequenceClassification(config.taskType().filter(TaskType.SEQ_CLS::equals).isPresent());
    config.excludeModules().ifPresent(selection::exclude);
    return selection.build();
  }

  private static Targets defaults(ModelLayout layout) {
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

  /** The modules to save, with the heads that PEFT adds for a task. */
  static List<String> modulesToSave(LoraConfig config) {
    List<String> names = new ArrayList<>(config.modulesToSave());
    List<String> heads =
        switch (config.taskType().orElse(TaskType.FEATURE_EXTRACTION)) {
          case SEQ_CLS, TOKEN_CLS -> List.of("classifier", "score");
          case QUESTION_ANS -> List.of("qa_outputs");
          default -> List.of();
        };
    heads.stream().filter(head -> !names.contains(head)).forEach(names::add);
    return names;
  }
}
