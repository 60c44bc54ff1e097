package io.peft4j.state;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class HalfPrecisionTest {

  /** The value by the definition of the format: sign, exponent and fraction as numbers. */
  private static double model(int half) {
    int exponent = (half >> 10) & 31;
    int fraction = half & 1023;
    double magnitude =
        exponent == 0
            ? fraction * 0x1p-24
            : exponent == 31
                ? (fraction == 0 ? Double.POSITIVE_INFINITY : Double.NaN)
                : (1024 + fraction) * Math.pow(2, exponent - 25);
    return (half & 0x8000) == 0 ? magnitude : -magnitude;
  }

  /** The nearest of all 16-bit patterns by searching, the even pattern if two are as near. */
  private static int nearest(float value, boolean brain) {
    double magnitude = Math.abs((double) value);
    int infinity = brain ? 0x7f80 : 0x7c00;
    int low = 0;
    int high = infinity;
    while (high - low > 1) {
      int middle = (low + high) >>> 1;
      if (positive(middle, brain) <= magnitude) {
        low = middle;
      } else {
        high = middle;
      }
    }
    // Infinity counts as the number that would follow the largest one.
    double above =
        high == infinity
            ? 2 * positive(infinity - 1, brain) - positive(infinity - 2, brain)
            : positive(high, brain);
    double toLow = magnitude - positive(low, brain);
    double toHigh = above - magnitude;
    int chosen = toLow < toHigh ? low : toHigh < toLow ? high : (low & 1) == 0 ? low : high;
    return chosen | (Float.floatToRawIntBits(value) < 0 ? 0x8000 : 0);
  }

  private static double positive(int pattern, boolean brain) {
    return brain ? Float.intBitsToFloat(pattern << 16) : model(pattern);
  }

  @Test
  void widensEveryHalfToItsValueAndBack() {
    for (int half = 0; half < 65536; half++) {
      float value = HalfPrecision.fromFloat16((short) half);
      double expected = model(half);
      if (Double.isNaN(expected)) {
        assertTrue(Float.isNaN(value));
        short back = HalfPrecision.toFloat16(value);
        assertEquals(half | 0x200, back & 0xffff, "quiet, sign and payload kept");
      } else {
        assertEquals((float) expected, value);
        assertEquals(half, HalfPrecision.toFloat16(value) & 0xffff);
      }
    }
  }

  @Test
  void widensEveryBfloatToItsUpperHalfAndBack() {
    for (int bfloat = 0; bfloat < 65536; bfloat++) {
      float value = HalfPrecision.fromBfloat16((short) bfloat);
      assertEquals(bfloat << 16, Float.floatToRawIntBits(value));
      int quiet = Float.isNaN(value) ? bfloat | 0x40 : bfloat;
      assertEquals(quiet, HalfPrecision.toBfloat16(value) & 0xffff);
    }
  }

  @Test
  void roundsToTheNearestEvenAroundEveryBoundary() {
    for (int pattern = 0; pattern < 0x7c00; pattern++) {
      double low = model(pattern);
      double high = pattern == 0x7bff ? 65536 : model(pattern + 1);
      checkAround((float) ((low + high) / 2), false);
      checkAround((float) low, false);
    }
    for (int pattern = 0; pattern < 0x7f80; pattern++) {
      checkAround(Float.intBitsToFloat((pattern << 16) + 0x8000), true);
      checkAround(Float.intBitsToFloat(pattern << 16), true);
    }
  }

  @Test
  void roundsRandomValuesToTheNearest() {
    SplittableRandom random = new SplittableRandom(7);
    for (int i = 0; i < 300_000; i++) {
      float value = Float.intBitsToFloat(random.nextInt());
      if (!Float.isNaN(value)) {
        check(value, true);
        check(value, false);
      }
      // Most float32 are far outside the range of half precision; these are within.
      check((float) (random.nextDouble(-1, 1) * Math.pow(2, random.nextInt(-26, 18))), false);
    }
    for (float value :
        new float[] {0f, -0f, Float.MIN_VALUE, Float.MAX_VALUE, 65519.996f, 65520f}) {
      checkAround(value, true);
      checkAround(value, false);
      checkAround(-value, false);
    }
    assertEquals(0x7c00, HalfPrecision.toFloat16(Float.POSITIVE_INFINITY));
    assertEquals((short) 0xff80, HalfPrecision.toBfloat16(Float.NEGATIVE_INFINITY));
  }

  private static void checkAround(float value, boolean brain) {
    check(value, brain);
    check(Math.nextUp(value), brain);
    check(Math.nextDown(value), brain);
  }

  private static void check(float value, boolean brain) {
    if (Float.isInfinite(value)) {
      return;
    }
    short actual = brain ? HalfPrecision.toBfloat16(value) : HalfPrecision.toFloat16(value);
    if ((actual & 0xffff) != nearest(value, brain)) {
      assertEquals(
          Integer.toHexString(nearest(value, brain)),
          Integer.toHexString(actual & 0xffff),
          value + " to " + (brain ? "bfloat16" : "float16"));
    }
  }
}
