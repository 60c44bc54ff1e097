package io.peft4j.train;

import io.peft4j.InvalidConfigException;
import java.util.function.DoubleUnaryOperator;

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

  /** The line that a rate takes from 1 down to 0, as transformers names them. */
  enum Decay {
    /** Straight. */
    LINEAR,
    /** Half a cosine. */
    COSINE,
    /** 1 minus the root of the progress: steep first. */
    ONE_MINUS_SQRT;

    private double at(double progress) {
      return switch (this) {
        case LINEAR -> 1 - progress;
        case COSINE -> 0.5 * (1 + Math.cos(Math.PI * progress));
        case ONE_MINUS_SQRT -> 1 - Math.sqrt(progress);
      };
    }
  }

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
    return constant(Warmup.of(warmupSteps));
  }

  /**
   * The highest rate after a warm-up.
   *
   * @param warmup how long it takes
   * @return the schedule
   */
  static LearningRateSchedule constant(Warmup warmup) {
    return after(warmup, progress -> 1);
  }

  /**
   * A straight line from the highest rate down to 0 at the end of the run.
   *
   * @param warmupSteps steps until the highest rate is reached
   * @return the schedule
   * @throws InvalidConfigException if the number is negative
   */
  static LearningRateSchedule linear(long warmupSteps) {
    return linear(Warmup.of(warmupSteps));
  }

  /**
   * A straight line from the highest rate down to 0 at the end of the run.
   *
   * @param warmup how long it takes until the highest rate is reached
   * @return the schedule
   */
  static LearningRateSchedule linear(Warmup warmup) {
    return after(warmup, progress -> Math.max(0, 1 - progress));
  }

  /**
   * Half a cosine from the highest rate down to 0 at the end of the run.
   *
   * @param warmupSteps steps until the highest rate is reached
   * @return the schedule
   * @throws InvalidConfigException if the number is negative
   */
  static LearningRateSchedule cosine(long warmupSteps) {
    return cosine(Warmup.of(warmupSteps), 0);
  }

  /**
   * Half a cosine from the highest rate down to a share of it at the end of the run: transformers'
   * {@code cosine} and, above 0, {@code cosine_with_min_lr}.
   *
   * @param warmup how long it takes until the highest rate is reached
   * @param minimum the share at the end, from 0 to 1
   * @return the schedule
   * @throws InvalidConfigException if the share is out of range
   */
  static LearningRateSchedule cosine(Warmup warmup, double minimum) {
    checkShare(minimum);
    return after(
        warmup, progress -> Math.max(0, Decay.COSINE.at(progress) * (1 - minimum) + minimum));
  }

  /**
   * From the highest rate down to a share of it at the end of the run, as a power of what is left:
   * transformers' {@code polynomial}.
   *
   * @param warmup how long it takes until the highest rate is reached
   * @param power above 0; 1 for a straight line
   * @param minimum the share at the end, from 0 to 1
   * @return the schedule
   * @throws InvalidConfigException if a number is out of range
   */
  static LearningRateSchedule polynomial(Warmup warmup, double power, double minimum) {
    checkShare(minimum);
    if (!(power > 0) || !Double.isFinite(power)) {
      throw new InvalidConfigException("the power of a schedule must be above 0, was " + power);
    }
    return after(
        warmup, progress -> (1 - minimum) * Math.pow(Math.max(0, 1 - progress), power) + minimum);
  }

  /**
   * With the root of the time that has passed, without regard to the run's length: transformers'
   * {@code inverse_sqrt}.
   *
   * @param warmup how long it takes until the highest rate is reached; without any, the time scale
   *     is 10,000 steps
   * @return the schedule
   */
  static LearningRateSchedule inverseSquareRoot(Warmup warmup) {
    return (step, total) -> {
      long steps = warmup.steps(total);
      double scale = steps == 0 ? 10_000 : steps;
      return step < steps ? (double) step / steps : 1 / Math.sqrt((step + scale - steps) / scale);
    };
  }

  /**
   * Warm-up, stable, decay: transformers' {@code warmup_stable_decay}. The warm-up begins at the
   * share that the decay ends with.
   *
   * @param warmup how long it takes until the highest rate is reached, in a straight line
   * @param decaySteps how many steps at the end of the run it goes down, from 0
   * @param decay along which line
   * @param minimum the share at both ends, from 0 to 1
   * @return the schedule
   * @throws InvalidConfigException if a number is out of range
   */
  static LearningRateSchedule warmupStableDecay(
      Warmup warmup, long decaySteps, Decay decay, double minimum) {
    checkShare(minimum);
    if (decaySteps < 0) {
      throw new InvalidConfigException(
          "the steps of a decay must not be negative, were " + decaySteps);
    }
    return (step, total) -> {
      long warm = warmup.steps(total);
      long end = total - decaySteps;
      if (step < warm) {
        return (double) step / warm * (1 - minimum) + minimum;
      }
      if (step < end) {
        return 1;
      }
      if (step < total) {
        double progress = (double) (step - end) / decaySteps;
        return Math.max(0, decay.at(progress) * (1 - minimum) + minimum);
      }
      return minimum;
    };
  }

  private static void checkShare(double share) {
    if (!(share >= 0 && share <= 1)) {
      throw new InvalidConfigException(
          "the smallest share of the learning rate must be from 0 to 1, was " + share);
    }
  }

  /** A warm-up, then a function of the progress from 0 to 1 through the rest. */
  private static LearningRateSchedule after(Warmup warmup, DoubleUnaryOperator rest) {
    return (step, total) -> {
      long warm = warmup.steps(total);
      return step < warm
          ? (double) step / warm
          : rest.applyAsDouble((double) (step - warm) / Math.max(1, total - warm));
    };
  }
}
