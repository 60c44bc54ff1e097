package io.peft4j.train;

import io.peft4j.InvalidConfigException;

/** How often something is done during a run. Immutable. */
public final class Interval {
  private static final Interval NEVER = new Interval(0, false);
  private static final Interval EPOCHS = new Interval(0, true);

  private final long steps;
  private final boolean epochs;

  private Interval(long steps, boolean epochs) {
    this.steps = steps;
    this.epochs = epochs;
  }

  /**
   * Every so many updates.
   *
   * @param count from 1
   * @return the interval
   * @throws InvalidConfigException if the count is not above 0
   */
  public static Interval steps(long count) {
    if (count < 1) {
      throw new InvalidConfigException("an interval must be at least 1 step, was " + count);
    }
    return new Interval(count, false);
  }

  /**
   * At the end of each epoch.
   *
   * @return the interval
   */
  public static Interval epochs() {
    return EPOCHS;
  }

  /**
   * Not at all while the run goes on.
   *
   * @return the interval
   */
  public static Interval never() {
    return NEVER;
  }

  boolean due(long step, boolean epochEnds) {
    return epochs ? epochEnds : steps > 0 && step % steps == 0;
  }

  @Override
  public String toString() {
    return epochs ? "each epoch" : steps > 0 ? "every " + steps + " steps" : "never";
  }
}
