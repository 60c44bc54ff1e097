package io.peft4j.train;

import io.peft4j.TrainableParameter;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * What a run's end depends on, in words: a checkpoint is taken up only where all of it is equal.
 */
final class Fingerprint {
  /** A schedule is a function; where it is probed it must give the same. */
  private static final int PROBES = 16;

  private Fingerprint() {}

  static Map<String, String> of(Trainer trainer, List<ParameterGroup> groups) {
    Map<String, String> all = new TreeMap<>();
    all.put("seed", String.valueOf(trainer.seed));
    all.put("gradient accumulation", String.valueOf(trainer.accumulation));
    all.put("total steps", String.valueOf(trainer.totalSteps));
    all.put("batches", trainer.batches.description());
    all.put("optimizer", trainer.settings.toString());
    // Where moments lie changes nothing, how many bits they have does.
    if (trainer.storage.eightBit()) {
      all.put("moments", "8 bits");
    }
    all.put("dropout", String.valueOf(trainer.mode.dropout()));
    StringBuilder factors = new StringBuilder();
    for (int i = 0; i <= PROBES; i++) {
      long step = Math.min(trainer.totalSteps - 1, i * (trainer.totalSteps / PROBES + 1));
      factors.append(trainer.schedule.factor(step, trainer.totalSteps)).append(' ');
    }
    all.put("schedule", factors.toString().trim());
    EvaluationSettings evaluation = trainer.evaluation;
    all.put("evaluation", evaluation == null ? "none" : evaluation.toString());
    for (ParameterGroup group : groups) {
      for (TrainableParameter parameter : group.parameters()) {
        all.put(
            "parameter " + Parameters.key(parameter),
            parameter.array().getShape()
                + " at rate x"
                + group.learningRateFactor()
                + " with decay "
                + group.weightDecay());
      }
    }
    return all;
  }
}
