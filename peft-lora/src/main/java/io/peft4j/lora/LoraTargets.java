package io.peft4j.lora;

import io.peft4j.TaskType;
import io.peft4j.spi.SavedModules;
import io.peft4j.target.DefaultTargets;
import io.peft4j.target.ModelLayout;
import io.peft4j.target.TargetSelection;
import java.util.List;

/** What a configuration means on a model: PEFT's defaults filled in. */
final class LoraTargets {
  private LoraTargets() {}

  static TargetSelection selection(LoraConfig config, ModelLayout layout) {
    TargetSelection.Builder selection =
        TargetSelection.builder()
            .targets(config.targetModules().orElseGet(() -> DefaultTargets.of(layout)))
            .layersToTransform(config.layersToTransform())
            .layersPattern(config.layersPattern())
            .modulesToSave(modulesToSave(config))
            .pattern(config.rankPattern())
            .pattern(config.alphaPattern())
            .sequenceClassification(config.taskType().filter(TaskType.SEQ_CLS::equals).isPresent());
    config.excludeModules().ifPresent(selection::exclude);
    return selection.build();
  }

  /** The modules to save, with the heads that PEFT adds for a task. */
  static List<String> modulesToSave(LoraConfig config) {
    return SavedModules.names(config.modulesToSave(), config.taskType());
  }
}
