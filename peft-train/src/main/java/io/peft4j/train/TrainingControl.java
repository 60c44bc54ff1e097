package io.peft4j.train;

/**
 * Asks a run to stop. A {@link TrainingListener} is given it when the run begins; it may be used
 * from any thread, for example a shutdown hook's or a user interface's.
 */
public final class TrainingControl {
  private volatile boolean stop;

  /** A control that nobody has used yet. */
  public TrainingControl() {}

  /**
   * Ends the run after the step that is being made, as its last one would: a checkpoint is written
   * where checkpoints are, and the run can be taken up again.
   */
  public void stop() {
    stop = true;
  }

  /**
   * Whether {@link #stop} was called.
   *
   * @return true if so
   */
  public boolean stopped() {
    return stop;
  }
}
