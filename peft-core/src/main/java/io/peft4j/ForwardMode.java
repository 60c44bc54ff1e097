package io.peft4j;

/** What a forward pass is for. */
public enum ForwardMode {
  /** No dropout, and nothing recorded for a backward pass. */
  INFERENCE(false, false),
  /** Dropout as configured, recorded for a backward pass. */
  TRAINING(true, true),
  /** Recorded for a backward pass, without dropout: gradients that repeat exactly. */
  TRAINING_WITHOUT_DROPOUT(true, false);

  private final boolean gradients;
  private final boolean dropout;

  ForwardMode(boolean gradients, boolean dropout) {
    this.gradients = gradients;
    this.dropout = dropout;
  }

  /**
   * Tells whether operations are recorded for a backward pass.
   *
   * @return true if so
   */
  public boolean gradients() {
    return gradients;
  }

  /**
   * Tells whether dropout acts.
   *
   * @return true if so
   */
  public boolean dropout() {
    return dropout;
  }
}
