package io.peft4j.train;

import io.peft4j.InvalidConfigException;

/** Which evaluation is the best, and when there have been too many that were not better. */
final class BestSoFar {
  private BestSoFar() {}

  /** Updates the state; the evaluation is returned with what was found. */
  static Evaluation judge(Evaluation evaluation, EvaluationSettings settings, RunState state) {
    Double value = evaluation.values().get(settings.metricForBest());
    if (value == null) {
      throw new InvalidConfigException(
          "the best model is to be told by '"
              + settings.metricForBest()
              + "', but an evaluation has "
              + evaluation.values().keySet());
    }
    Double best = state.best;
    // As transformers counts: the threshold plays a part here and not in which one is the best.
    boolean enough =
        best == null
            || (settings.better(value, best) && Math.abs(value - best) > settings.threshold());
    state.withoutImprovement = enough ? 0 : state.withoutImprovement + 1;
    if (settings.patience() > 0 && state.withoutImprovement >= settings.patience()) {
      state.finished = true;
    }
    boolean better = Double.isFinite(value) && (best == null || settings.better(value, best));
    if (better) {
      state.best = value;
      state.bestStep = evaluation.step();
    }
    return new Evaluation(
        evaluation.step(),
        evaluation.epoch(),
        evaluation.loss(),
        evaluation.items(),
        evaluation.metrics(),
        evaluation.seconds(),
        better);
  }
}
