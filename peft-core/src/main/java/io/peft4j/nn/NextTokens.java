package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import io.peft4j.InvalidConfigException;
import java.util.Arrays;

/**
 * The loss of a causal language model: softmax cross entropy of each position's logits and the
 * label of the next position, mean over the labels that count. With smoothing e it is (1 - e) times
 * that plus e times the mean of -log p over the whole vocabulary, as transformers' {@code
 * LabelSmoother} has it.
 *
 * @param labels token ids int64 [batch, length], not shifted; {@value #IGNORED} does not count
 * @param smoothing e, in [0, 1)
 */
public record NextTokens(NDArray labels, double smoothing) {
  /** The label of what does not count. */
  public static final long IGNORED = -100;

  /**
   * Checks.
   *
   * @throws InvalidConfigException if the smoothing is out of range
   */
  public NextTokens {
    if (!(smoothing >= 0 && smoothing < 1)) {
      throw new InvalidConfigException(
          "label smoothing must be at least 0 and below 1, was " + smoothing);
    }
  }

  /**
   * Positions that predict something, and what.
   *
   * @param rows numbers of positions, batch and length taken as one dimension, ascending
   * @param tokens the token that follows each
   */
  @SuppressWarnings("ArrayRecordComponent")
  public record Targets(long[] rows, long[] tokens) {

    /**
     * Tells whether nothing counts.
     *
     * @return true if so
     */
    public boolean isEmpty() {
      return rows.length == 0;
    }
  }

  /**
   * Finds what counts.
   *
   * @param vocabulary number of tokens
   * @return positions and tokens
   * @throws InvalidConfigException if a label is no token
   */
  public Targets targets(long vocabulary) {
    long[] values = labels.toLongArray();
    int length = Math.toIntExact(labels.getShape().get(1));
    long[] rows = new long[values.length];
    long[] tokens = new long[values.length];
    int count = 0;
    for (int i = 1; i < values.length; i++) {
      if (i % length == 0 || values[i] == IGNORED) {
        continue;
      }
      if (values[i] < 0 || values[i] >= vocabulary) {
        throw new InvalidConfigException(
            "labels must be below the number of classes, "
                + vocabulary
                + ", and not negative (or "
                + IGNORED
                + " to be ignored); one was "
                + values[i]);
      }
      rows[count] = i - 1;
      tokens[count++] = values[i];
    }
    return new Targets(Arrays.copyOf(rows, count), Arrays.copyOf(tokens, count));
  }
}
