package io.peft4j.onnx;

import java.util.Arrays;

/**
 * The tokens of a run. All arrays are row by row.
 *
 * @param rows number of rows
 * @param ids the new tokens, [rows, length]
 * @param mask 1 for tokens and 0 for padding, those of the past included, [rows, past + length]
 * @param types the kinds of the new tokens, [rows, length]
 * @param positions the positions of the new tokens, [rows, length]
 */
record TokenBatch(int rows, long[] ids, long[] mask, long[] types, long[] positions) {

  /** New tokens with the positions that transformers gives them, which count what is no padding. */
  static TokenBatch of(int rows, long[] ids, long[] mask) {
    int length = ids.length / rows;
    int total = mask.length / rows;
    long[] positions = new long[ids.length];
    for (int row = 0; row < rows; row++) {
      long seen = 0;
      for (int i = 0; i < total; i++) {
        seen += mask[row * total + i];
        int place = i - (total - length);
        if (place >= 0) {
          positions[row * length + place] = Math.max(0, seen - 1);
        }
      }
    }
    return new TokenBatch(rows, ids, mask, new long[ids.length], positions);
  }

  int length() {
    return ids.length / rows;
  }

  int total() {
    return mask.length / rows;
  }

  /** The tokens from one place to another; the mask covers those before too. */
  TokenBatch part(int begin, int end) {
    return new TokenBatch(
        rows,
        columns(ids, begin, end),
        columns(mask, 0, end),
        columns(types, begin, end),
        columns(positions, begin, end));
  }

  private long[] columns(long[] values, int begin, int end) {
    int width = values.length / rows;
    long[] part = new long[rows * (end - begin)];
    for (int row = 0; row < rows; row++) {
      System.arraycopy(values, row * width + begin, part, row * (end - begin), end - begin);
    }
    return part;
  }

  TokenBatch shifted(long offset) {
    long[] moved = Arrays.stream(positions).map(position -> position + offset).toArray();
    return new TokenBatch(rows, ids, mask, types, moved);
  }
}
