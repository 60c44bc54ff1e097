package io.peft4j.train;

/** Is told how training goes, on the thread that trains. What it throws stops the run. */
@FunctionalInterface
public interface TrainingListener {
  /**
   * A step has been taken.
   *
   * @param step the step
   */
  void onStep(TrainingStep step);

  /**
   * An epoch has ended.
   *
   * @param epoch its number, from 0
   */
  default void onEpochEnd(int epoch) {}
}
