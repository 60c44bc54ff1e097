package io.peft4j.state;

import java.util.Arrays;

/**
 * bitsandbytes' dynamic maps of 8 bits: seven decades of which each has twice as many values as the
 * one below it, evenly spaced, then 0 and 1. The signed one has one to 64 values in a decade, of
 * each sign; the unsigned one has two to 128.
 *
 * <p>A value's code is looked up after it was rounded to one of 65,536 values evenly spaced from -1
 * to 1, as bitsandbytes does on the CPU: magnitudes much below that distance become 0.
 */
public final class DynamicMap {
  /** For values of both signs. */
  public static final DynamicMap SIGNED = new DynamicMap(true);

  /** For values from 0. */
  public static final DynamicMap UNSIGNED = new DynamicMap(false);

  private static final int DECADES = 7;
  private static final int TOP = 65535;

  private final float[] values;

  /** The code of each of the evenly spaced values. */
  private final byte[] codes;

  private DynamicMap(boolean signed) {
    values = make(signed);
    codes = codes(values);
  }

  /**
   * The value of each code.
   *
   * @return 256 values, ascending; shared, not to be written to
   */
  public float[] values() {
    return values;
  }

  /**
   * The code of a value.
   *
   * @param value between -1 and 1
   * @return the code whose value is nearest to the evenly spaced value nearest to this
   */
  public byte code(float value) {
    return codes[(int) ((value + 1) * 0.5f * TOP + 0.5f)];
  }

  private static float[] make(boolean signed) {
    float[] values = new float[256];
    int next = 0;
    for (int decade = 0; decade < DECADES; decade++) {
      int count = signed ? 1 << decade : 2 << decade;
      float unit = (float) Math.pow(10, decade - (DECADES - 1));
      for (int i = 0; i < count; i++) {
        float mean = (boundary(count, i) + boundary(count, i + 1)) / 2;
        values[next++] = unit * mean;
        if (signed) {
          values[next++] = -unit * mean;
        }
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

  private static byte[] codes(float[] values) {
    byte[] codes = new byte[TOP + 1];
    int code = 0;
    for (int i = 0; i <= TOP; i++) {
      float value = -1.0f + 2.0f * i / TOP;
      while (code < values.length - 1 && 0.5f * (values[code] + values[code + 1]) < value) {
        code++;
      }
      codes[i] = (byte) code;
    }
    return codes;
  }
}
