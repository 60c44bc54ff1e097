package io.peft4j.train.data;

import io.peft4j.train.Losses;
import java.util.Arrays;

/**
 * A row as tokens.
 *
 * @param ids the tokens
 * @param labels what counts in the loss, not shifted; {@link Losses#IGNORED} where nothing does
 */
record Example(long[] ids, long[] labels) {

  /** Labels where all masks agree. */
  static Example of(long[] ids, boolean[]... masks) {
    long[] labels = ids.clone();
    for (boolean[] mask : masks) {
      for (int i = 0; i < labels.length; i++) {
        labels[i] = mask[i] ? labels[i] : Losses.IGNORED;
      }
    }
    return new Example(ids, labels);
  }

  int length() {
    return ids.length;
  }

  Example part(int from, int to) {
    return from == 0 && to == ids.length
        ? this
        : new Example(Arrays.copyOfRange(ids, from, to), Arrays.copyOfRange(labels, from, to));
  }

  /** Whether some token is to be predicted; none predicts the first. */
  boolean trains() {
    return Arrays.stream(labels).skip(1).anyMatch(label -> label != Losses.IGNORED);
  }
}
