package io.peft4j.train;

import io.peft4j.PeftException;

/**
 * Training stopped because a loss or gradient was not finite. The parameters are those before the
 * step.
 */
public final class DivergenceException extends PeftException {
  private static final long serialVersionUID = 1L;

  private final long step;

  /**
   * Creates an error.
   *
   * @param step the step, from 1
   * @param what what was not finite, its value, and the batch it came from
   */
  public DivergenceException(long step, String what) {
    super(
        "step "
            + step
            + ": "
            + what
            + "; training stopped before this step's update (a lower learning rate, a longer"
            + " warm-up or the step's data may be what to look at)");
    this.step = step;
  }

  /**
   * The step that was not taken.
   *
   * @return its number, from 1
   */
  public long step() {
    return step;
  }
}
