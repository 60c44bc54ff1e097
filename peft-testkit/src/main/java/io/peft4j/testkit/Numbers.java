package io.peft4j.testkit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.Map;
import java.util.Objects;

/** Comparisons of values. */
final class Numbers {
  private Numbers() {}

  /** The values under a name that must be there. */
  static float[] at(Map<String, float[]> values, String name) {
    return Objects.requireNonNull(values.get(name), name);
  }

  /** The largest difference, relative to the largest expected value or 1; NaN if there is a NaN. */
  static double error(float[] expected, float[] actual) {
    assertEquals(expected.length, actual.length, "number of values");
    double worst = 0;
    double largest = 1;
    for (int i = 0; i < expected.length; i++) {
      double difference = Math.abs((double) expected[i] - actual[i]);
      worst = difference <= worst ? worst : difference;
      largest = Math.max(largest, Math.abs(expected[i]));
    }
    return worst / largest;
  }

  static void assertClose(float[] expected, float[] actual, double tolerance, String what) {
    double error = error(expected, actual);
    assertTrue(error <= tolerance, () -> what + " differs by " + error);
  }

  static void assertDiffers(float[] first, float[] second, String what) {
    double error = error(first, second);
    assertTrue(error > 1e-3, () -> what + " differs only by " + error);
  }

  static void assertSame(float[] expected, float[] actual, String what) {
    assertTrue(
        Arrays.equals(expected, actual),
        () -> what + " is not the same bit for bit: differs by " + error(expected, actual));
  }

  static void assertSame(Map<String, float[]> expected, Map<String, float[]> actual, String what) {
    assertEquals(expected.keySet(), actual.keySet(), what);
    expected.forEach((name, values) -> assertSame(values, at(actual, name), what + ": " + name));
  }

  static void assertClose(
      Map<String, float[]> expected, Map<String, float[]> actual, double tolerance, String what) {
    assertEquals(expected.keySet(), actual.keySet(), what);
    expected.forEach(
        (name, values) -> assertClose(values, at(actual, name), tolerance, what + ": " + name));
  }
}
