package io.peft4j.onnx.graph;

/**
 * The layout that {@code MatMulNBits} takes with 4 bits and without zero points: a row of a matrix
 * [out, in] is cut into blocks of {@value #BLOCK}, the last one filled up with zeros. A value is (q
 * - 8) · scale with q from 0 to 15; two go into a byte, the first in the lower half. The scale of a
 * block is its value farthest from zero divided by -8, so that this value is kept exactly.
 */
final class Int4Blocks {
  /** Values with one scale. */
  static final int BLOCK = 32;

  private static final int MIDDLE = 8;
  private static final int HIGHEST = 15;

  private Int4Blocks() {}

  static int blocks(long in) {
    return Math.toIntExact((in + BLOCK - 1) / BLOCK);
  }

  /** The scales of a row, one for each block. */
  static float[] scales(float[] values, int begin, int in) {
    float[] scales = new float[blocks(in)];
    for (int block = 0; block < scales.length; block++) {
      int first = begin + block * BLOCK;
      int end = Math.min(first + BLOCK, begin + in);
      float farthest = 0;
      for (int i = first; i < end; i++) {
        farthest = Math.abs(values[i]) > Math.abs(farthest) ? values[i] : farthest;
      }
      scales[block] = farthest / -MIDDLE;
    }
    return scales;
  }

  private static int quantized(float value, float scale) {
    int q = scale == 0 ? MIDDLE : Math.round(value / scale) + MIDDLE;
    return Math.max(0, Math.min(HIGHEST, q));
  }

  /** Packs a row into bytes, half as many as the blocks hold values. */
  static byte[] pack(float[] values, int begin, int in) {
    float[] scales = scales(values, begin, in);
    byte[] packed = new byte[scales.length * BLOCK / 2];
    for (int i = 0; i < scales.length * BLOCK; i++) {
      int q = i < in ? quantized(values[begin + i], scales[i / BLOCK]) : MIDDLE;
      packed[i / 2] |= (byte) (q << 4 * (i % 2));
    }
    return packed;
  }

  /** Replaces the values of a row by those that its packed form stands for. */
  static void round(float[] values, int begin, int in) {
    float[] scales = scales(values, begin, in);
    for (int i = 0; i < in; i++) {
      float scale = scales[i / BLOCK];
      values[begin + i] = (quantized(values[begin + i], scale) - MIDDLE) * scale;
    }
  }
}
