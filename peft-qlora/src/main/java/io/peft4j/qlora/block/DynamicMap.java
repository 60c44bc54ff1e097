package io.peft4j.qlora.block;

import java.util.Arrays;

/**
 * The signed dynamic map of 8 bits: of each sign, seven decades of which each has twice as many
 * values as the one below it (from one up to 64, evenly spaced), then 0 and 1.
 */
public final class DynamicMap {
  private static final int DECADES = 7;
  private static final int TOP = 65535;
  private static final float[] VALUES = make();

  /** The code of each of 65,536 values evenly spaced from -1 to 1. */
  private static final byte[] CODES = codes();

  private DynamicMap() {}

  /**
   * The value of each code.
   *
   * @return 256 values, ascending; shared, not to be written to
   */
  public static float[] values() {
    return VALUES;
  }

  private static float[] make() {
    float[] values = new float[256];
    int next = 0;
    for (int decade = 0; decade < DECADES; decade++) {
      int count = 1 << decade;
      float unit = (float) Math.pow(10, decade - (DECADES - 1));
      for (int i = 0; i < count; i++) {
        float mean = (boundary(count, i) + boundary(count, i + 1)) / 2;
        values[next++] = unit * mean;
        values[next++] = -unit * mean;
      }
    }
    values[next++] = 0;
    values[next] = 1;
    Arrays.sort(values);
    return values;
  }

  private static float boundary(int count, int index) {
    return Spaced.at(0.1f, 1, count + 1, index);
  }

  private static byte[] codes() {
    byte[] codes = new byte[TOP + 1];
    int code = 0;
    for (int i = 0; i <= TOP; i++) {
      float value = -1.0f + 2.0f * i / TOP;
      while (code < VALUES.length - 1 && 0.5f * (VALUES[code] + VALUES[code + 1]) < value) {
        code++;
      }
      codes[i] = (byte) code;
    }
    return codes;
  }

  /** The code for a value between -1 and 1. */
  static byte code(float value) {
    return CODES[(int) ((value + 1) * 0.5f * TOP + 0.5f)];
  }
}
