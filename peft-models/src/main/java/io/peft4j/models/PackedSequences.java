package io.peft4j.models;

import ai.djl.ndarray.NDArray;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * The sequences that rows are packed from: a token sees none of another sequence, and positions
 * begin anew with each.
 */
public final class PackedSequences {
  private final NDArray numbers;
  private final long[] positions;
  private final List<int[]> bounds = new ArrayList<>();
  private final int longest;

  /**
   * Finds where sequences begin.
   *
   * @param numbers int64 [batch, length]
   * @param batch rows
   * @param length tokens of a row
   */
  PackedSequences(NDArray numbers, int batch, int length) {
    this.numbers = numbers;
    long[] values = numbers.toLongArray();
    positions = new long[values.length];
    int most = 0;
    for (int row = 0; row < batch; row++) {
      int[] starts = starts(values, row, length);
      for (int i = 0; i + 1 < starts.length; i++) {
        for (int place = starts[i]; place < starts[i + 1]; place++) {
          positions[row * length + place] = place - starts[i];
        }
        most = Math.max(most, starts[i + 1] - starts[i]);
      }
      bounds.add(starts);
    }
    longest = most;
  }

  private static int[] starts(long[] values, int row, int length) {
    int[] starts = new int[length + 1];
    int count = 0;
    Set<Long> seen = new HashSet<>();
    for (int place = 0; place < length; place++) {
      long number = values[row * length + place];
      if (place > 0 && number == values[row * length + place - 1]) {
        continue;
      }
      if (!seen.add(number)) {
        throw new InvalidInputException(
            "sequence_ids: the tokens of a sequence must lie side by side, but row "
                + row
                + " has "
                + number
                + " again at position "
                + place);
      }
      starts[count++] = place;
    }
    starts[count++] = length;
    return Arrays.copyOf(starts, count);
  }

  /**
   * The number of each token's sequence; tokens of a row are of one sequence if theirs are equal.
   *
   * @return int64 [batch, length]
   */
  public NDArray numbers() {
    return numbers;
  }

  /**
   * Where sequences begin, so that attention can go over each by itself.
   *
   * @return for each row, the places at which its sequences begin, ascending from 0, and the row's
   *     length at the end; not to be modified
   */
  public List<int[]> bounds() {
    return bounds;
  }

  /**
   * The length of the longest sequence.
   *
   * @return tokens
   */
  public int longest() {
    return longest;
  }

  /** Each token's place in its sequence, row after row. */
  long[] positions() {
    return positions;
  }
}
