package io.peft4j.train.data;

import io.peft4j.train.Losses;
import java.util.Arrays;

/**
 * The values of a batch that is being made, padding at first; row after row.
 *
 * @param ids tokens
 * @param mask 1 at tokens
 * @param sequences numbers of sequences, 0 at padding
 * @param labels labels
 */
record Filling(long[] ids, long[] mask, long[] sequences, long[] labels) {
  Filling(int size, long padding) {
    this(new long[size], new long[size], new long[size], new long[size]);
    Arrays.fill(ids, padding);
    Arrays.fill(labels, Losses.IGNORED);
  }

  void put(int place, Example example, int number) {
    int length = example.length();
    System.arraycopy(example.ids(), 0, ids, place, length);
    System.arraycopy(example.labels(), 0, labels, place, length);
    if (number > 1) {
      // The token before is another sequence's.
      labels[place] = Losses.IGNORED;
    }
    Arrays.fill(mask, place, place + length, 1);
    Arrays.fill(sequences, place, place + length, number);
  }
}
