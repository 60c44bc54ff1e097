package io.peft4j.train;

import io.peft4j.InvalidConfigException;

/**
 * How the learning rate goes over a run. The ready-made ones give what transformers' {@code
 * get_scheduler} gives: with warm-up the rate grows linearly from 0, which is that of the first
 * step.
 */
@FunctionalInterface
public interface LearningRateSchedule {
  /**
   * The share of the highest learning rate that a step is taken with.
   *
   * @param step updates done so far: 0 for the first
   * @param totalSteps updates of the whole run
   * @return a factor, usually from 0 to 1
   */
  double factor(long step, long totalSteps);

  /**
   * Always the highest rate.
   *
   * @return the schedule
   */
  static LearningRateSchedule constant() {
    return constant(0);
  }

  /**
   * The highest rate after a warm-up.
   *
   * @param warmupSteps steps until the highest rate is reached
   * @return the schedule
   * @throws InvalidConfigException if the number is negative
   */
  static LearningRateSchedule constant(long warmupSteps) {
    return warmup(warmupSteps, (step, total) -> 1);
  }

  /**
   * A straight line from the highest rate down to 0 at the end of the run.
   *
   * @param warmupSteps steps until the highest rate is reached
   * @return the schedule
   * @throws InvalidConfigException if the number is negative
   */
  static LearningRateSchedule linear(long warmupSteps) {
    return warmup(
        warmupSteps,
        (step, total) -> Math.max(0, (double) (total - step) / Math.max(1, total - warmupSteps)));
  }

  /**
   * Half a cosine from the highest rate down to 0 at the end of the run.
   *
   * @param warmupSteps steps until the highest rate is reached
   * @return the schedule
   * @throws InvalidConfigException if the number is negative
   */
  static LearningRateSchedule cosine(long warmupSteps) {
    return warmup(
        warmupSteps,
        (step, total) -> {
          double progress = (double) (step - warmupSteps) / Math.max(1, total - warmupSteps);
          return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
        });
  }

  private static LearningRateSchedule warmup(long steps, LearningRateSchedule after) {
    if (steps < 0) {
      throw new InvalidConfigException("warm-up steps must not be negative, were " + steps);
    }
    return (step, total) -> step < steps ? (double) step / steps : after.factor(step, total);
  }
}
