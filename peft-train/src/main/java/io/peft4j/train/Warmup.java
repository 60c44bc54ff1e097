package io.peft4j.train;

import io.peft4j.InvalidConfigException;

/** How many steps of a run go by until the highest learning rate is reached. */
@FunctionalInterface
public interface Warmup {
  /**
   * The number for a run.
   *
   * @param totalSteps updates of the whole run
   * @return steps, from 0
   */
  long steps(long totalSteps);

  /**
   * The same number for every run.
   *
   * @param steps from 0
   * @return the warm-up
   * @throws InvalidConfigException if the number is negative
   */
  static Warmup of(long steps) {
    if (steps < 0) {
      throw new InvalidConfigException("warm-up steps must not be negative, were " + steps);
    }
    return total -> steps;
  }

  /**
   * A share of the run, rounded up as transformers does.
   *
   * @param share from 0 to 1
   * @return the warm-up
   * @throws InvalidConfigException if it is out of range
   */
  static Warmup ratio(double share) {
    if (!(share >= 0 && share <= 1)) {
      throw new InvalidConfigException(
          "the share of a run that is warm-up must be from 0 to 1, was " + share);
    }
    return total -> (long) Math.ceil(total * share);
  }
}
