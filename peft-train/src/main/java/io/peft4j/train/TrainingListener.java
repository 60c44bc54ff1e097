package io.peft4j.train;

import java.nio.file.Path;

/**
 * Is told how training goes, on the thread that trains. What it throws stops the run. After a step
 * come, where they are due, its evaluation, the end of its epoch, and its checkpoint.
 */
@FunctionalInterface
public interface TrainingListener {
  /**
   * A run begins or, from a checkpoint, goes on.
   *
   * @param control lets the listener ask the run to stop
   */
  default void onBegin(TrainingControl control) {}

  /**
   * A step has been taken.
   *
   * @param step the step
   */
  void onStep(TrainingStep step);

  /**
   * The model has been evaluated.
   *
   * @param evaluation what was found
   */
  default void onEvaluation(Evaluation evaluation) {}

  /**
   * An epoch has ended.
   *
   * @param epoch its number, from 0
   */
  default void onEpochEnd(int epoch) {}

  /**
   * A checkpoint is whole and on disk.
   *
   * @param step updates it has
   * @param directory where it is
   */
  default void onCheckpoint(long step, Path directory) {}

  /**
   * The run has ended well. Called once, after everything else.
   *
   * @param result what it came to
   */
  default void onEnd(TrainingResult result) {}

  /**
   * The run has failed and {@link Trainer#run} is about to throw. What a listener throws here is
   * added to the failure.
   *
   * @param failure what happened
   */
  default void onFailure(Throwable failure) {}
}
