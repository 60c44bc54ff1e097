package io.peft4j.cli;

import java.util.Locale;
import java.util.function.IntPredicate;

/**
 * How far computed values are from expected ones. NaN on either side makes both errors NaN; equal
 * infinities agree.
 *
 * @param absolute the largest |computed − expected|
 * @param relative the largest |computed − expected| / max(|expected|, 10⁻⁶)
 */
record Comparison(double absolute, double relative) {
  private static final double LEAST = 1e-6;

  /**
   * Compares.
   *
   * @param counts tells by index whether a value counts
   */
  static Comparison of(float[] computed, float[] expected, IntPredicate counts) {
    double absolute = 0;
    double relative = 0;
    for (int i = 0; i < expected.length; i++) {
      if (counts.test(i) && (computed[i] != expected[i])) {
        double error = Math.abs((double) computed[i] - expected[i]);
        // Math.max keeps NaN, once it is there.
        absolute = Math.max(absolute, error);
        relative = Math.max(relative, error / Math.max(Math.abs(expected[i]), LEAST));
      }
    }
    return new Comparison(absolute, Double.isNaN(absolute) ? Double.NaN : relative);
  }

  /** Whether it is close enough; NaN never is. */
  boolean within(double tolerance) {
    return absolute <= tolerance;
  }

  @Override
  public String toString() {
    return String.format(Locale.ROOT, "max_abs_err=%.3e max_rel_err=%.3e", absolute, relative);
  }
}
