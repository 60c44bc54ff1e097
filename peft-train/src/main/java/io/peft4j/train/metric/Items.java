package io.peft4j.train.metric;

/** What one prediction is about. */
public enum Items {
  /** One a row: logits [rows, classes], labels int64 [rows]. */
  ROWS(1),
  /** One a token: logits [rows, length, classes], labels int64 [rows, length]. */
  TOKENS(2),
  /**
   * The next token: logits [rows, length, vocabulary], labels int64 [rows, length], not shifted;
   * what is predicted at a position is held against the label of the next.
   */
  NEXT_TOKENS(2);

  private final int rank;

  Items(int rank) {
    this.rank = rank;
  }

  int rank() {
    return rank;
  }
}
