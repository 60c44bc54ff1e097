package io.peft4j.state;

/**
 * Conversions between float32 and the two 16-bit formats, which Java 17 does not have.
 *
 * <p>Narrowing rounds to the nearest value, ties to even; what is too large becomes an infinity;
 * NaN stays NaN (made quiet, sign and upper payload bits kept). Widening is exact.
 */
public final class HalfPrecision {
  private static final int FLOAT_INFINITY = 0x7f800000;

  private HalfPrecision() {}

  /**
   * Widens an IEEE half-precision value.
   *
   * @param half the 16 bits: sign, five of exponent, ten of fraction
   * @return the same value
   */
  public static float fromFloat16(short half) {
    // The fraction and exponent land in a float32 whose exponent is 112 too small; the product sets
    // that right and makes subnormals normal, exactly.
    int magnitude = (half & 0x7fff) << 13;
    int bits = Float.floatToRawIntBits(Float.intBitsToFloat(magnitude) * 0x1p112f);
    if (magnitude >= 0x0f800000) {
      bits = magnitude | FLOAT_INFINITY;
    }
    return Float.intBitsToFloat(bits | ((half & 0x8000) << 16));
  }

  /**
   * Narrows to IEEE half precision.
   *
   * @param value any value
   * @return the 16 bits of the nearest half-precision value
   */
  public static short toFloat16(float value) {
    int bits = Float.floatToRawIntBits(value);
    int sign = (bits >>> 16) & 0x8000;
    int magnitude = bits & 0x7fffffff;
    int half;
    if (magnitude > FLOAT_INFINITY) {
      half = 0x7e00 | ((magnitude >>> 13) & 0x3ff);
    } else if (magnitude >= 0x47800000) {
      // 65536 and above; what lies between the largest half and that rounds below.
      half = 0x7c00;
    } else if (magnitude >= 0x38800000) {
      // Normal: 2^-14 and above. A carry out of the fraction goes into the exponent, as it should.
      int rebased = magnitude - 0x38000000;
      half = (rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13;
    } else {
      // Subnormal: adding 0.5 leaves the fraction's last bit worth 2^-24, rounded by the hardware.
      float shifted = Float.intBitsToFloat(magnitude) + 0.5f;
      half = Float.floatToRawIntBits(shifted) - 0x3f000000;
    }
    return (short) (sign | half);
  }

  /**
   * Widens a bfloat16 value.
   *
   * @param bfloat the 16 bits: the upper half of a float32
   * @return the same value
   */
  public static float fromBfloat16(short bfloat) {
    return Float.intBitsToFloat(bfloat << 16);
  }

  /**
   * Narrows to bfloat16.
   *
   * @param value any value
   * @return the 16 bits of the nearest bfloat16 value
   */
  public static short toBfloat16(float value) {
    int bits = Float.floatToRawIntBits(value);
    if ((bits & 0x7fffffff) > FLOAT_INFINITY) {
      return (short) ((bits >>> 16) | 0x40);
    }
    return (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
  }
}
