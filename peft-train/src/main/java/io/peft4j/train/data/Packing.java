package io.peft4j.train.data;

/** How rows of data are put together to rows of batches. */
public enum Packing {
  /** Each by itself, padded to the longest of its batch. */
  NONE,
  /**
   * Whole, each where the least room is left that it fits in, the longest first: TRL's {@code bfd}.
   */
  BEST_FIT,
  /**
   * One after the other, cut wherever a row of the batch is full: TRL's {@code wrapped}. Other than
   * there, the pieces do not see each other.
   */
  WRAPPED
}
