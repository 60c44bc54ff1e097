package io.peft4j.qlora.block;

import io.peft4j.InvalidConfigException;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Locale;
import java.util.stream.IntStream;

/**
 * The values that 4 bits stand for, as bitsandbytes has them. A value between -1 and 1 takes the
 * code whose value is nearest; on the midpoint between two it takes the lower one.
 */
public enum QuantType {
  /** The quantiles of a normal distribution, so that all codes are used about equally. */
  NF4(
      -1.0f,
      -0.6961928009986877f,
      -0.5250730514526367f,
      -0.39491748809814453f,
      -0.28444138169288635f,
      -0.18477343022823334f,
      -0.09105003625154495f,
      0.0f,
      0.07958029955625534f,
      0.16093020141124725f,
      0.24611230194568634f,
      0.33791524171829224f,
      0.44070982933044434f,
      0.5626170039176941f,
      0.7229568362236023f,
      1.0f),
  /**
   * A sign, two bits of exponent, one of fraction. The values that are above zero and nearest to it
   * have code 8, which is a zero as well.
   */
  FP4(
      0.0f,
      0.0052083335f,
      0.6666667f,
      1.0f,
      0.33333334f,
      0.5f,
      0.16666667f,
      0.25f,
      0.0f,
      -0.0052083335f,
      -0.6666667f,
      -1.0f,
      -0.33333334f,
      -0.5f,
      -0.16666667f,
      -0.25f);

  /** How many codes there are. */
  static final int CODES = 16;

  private final float[] codes;
  private final float[] bounds;
  private final byte[] order;

  QuantType(float... codes) {
    this.codes = codes;
    int[] sorted =
        IntStream.range(0, CODES)
            .boxed()
            .sorted(Comparator.comparing((Integer code) -> codes[code]))
            .mapToInt(code -> code)
            .toArray();
    bounds = new float[CODES - 1];
    order = new byte[CODES];
    for (int i = 0; i < CODES; i++) {
      order[i] = (byte) sorted[i];
      if (i > 0) {
        bounds[i - 1] = (codes[sorted[i - 1]] + codes[sorted[i]]) / 2;
      }
    }
  }

  /**
   * Finds a type by the name it has in files.
   *
   * @param name {@code nf4} or {@code fp4}
   * @return the type
   * @throws InvalidConfigException if it is another name
   */
  public static QuantType named(String name) {
    return Arrays.stream(values())
        .filter(type -> type.key().equals(name))
        .findFirst()
        .orElseThrow(
            () ->
                new InvalidConfigException(
                    "a type of 4 bits is nf4 or fp4; given was '" + name + "'"));
  }

  /**
   * The name in files.
   *
   * @return {@code nf4} or {@code fp4}
   */
  public String key() {
    return name().toLowerCase(Locale.ROOT);
  }

  /**
   * The value of each code.
   *
   * @return 16 values, a copy
   */
  public float[] codes() {
    return codes.clone();
  }

  /** The value of a code. */
  float value(int code) {
    return codes[code];
  }

  /** The code of a value between -1 and 1: the number of midpoints below it gives its rank. */
  int code(float value) {
    float[] b = bounds;
    int rank = value > b[7] ? 8 : 0;
    rank += value > b[rank + 3] ? 4 : 0;
    rank += value > b[rank + 1] ? 2 : 0;
    rank += value > b[rank] ? 1 : 0;
    return order[rank];
  }
}
