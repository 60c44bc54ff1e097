package io.peft4j.train.data;

/** What is done with rows that have more tokens than wanted. */
public enum TooLong {
  /** The end is cut off: TRL's {@code keep_start}. */
  KEEP_START,
  /** The beginning is cut off: TRL's {@code keep_end}. */
  KEEP_END,
  /** The row is left out. */
  SKIP,
  /** The row is an error. */
  REFUSE
}
