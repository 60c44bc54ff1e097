package io.peft4j.train.metric;

/** How the scores of single classes become one, as scikit-learn's {@code average} has it. */
public enum Averaging {
  /** The score of class 1 alone, for two classes. */
  BINARY,
  /** One score over all items together, which for these metrics is the accuracy. */
  MICRO,
  /** The mean over the classes that occur among labels or predictions. */
  MACRO,
  /** The mean over the classes, each weighing as much as it has labels. */
  WEIGHTED
}
