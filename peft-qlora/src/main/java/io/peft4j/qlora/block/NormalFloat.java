package io.peft4j.qlora.block;

import io.peft4j.state.Spaced;
import java.util.Arrays;
import org.apache.commons.math3.distribution.NormalDistribution;

/** Where the values of {@link QuantType#NF4} come from. */
public final class NormalFloat {
  /** The outermost probability: the mean of 1 - 1/(2·15) and 1 - 1/(2·16). */
  private static final float OUTERMOST = 0.9677083f;

  private NormalFloat() {}

  /**
   * Derives the values: quantiles of the standard normal distribution at eight probabilities evenly
   * spaced from the outermost towards one half, the negatives of seven such, and zero; divided by
   * the largest, in float32.
   *
   * @return 16 values, ascending
   */
  public static float[] values() {
    float[] values = new float[QuantType.CODES];
    quantiles(values, 0, 8, 1);
    quantiles(values, 8, 7, -1);
    Arrays.sort(values);
    float largest = values[values.length - 1];
    for (int i = 0; i < values.length; i++) {
      values[i] /= largest;
    }
    return values;
  }

  private static void quantiles(float[] values, int from, int count, int sign) {
    NormalDistribution normal = new NormalDistribution(null, 0, 1);
    for (int i = 0; i < count; i++) {
      float probability = Spaced.at(OUTERMOST, 0.5f, count + 1, i);
      values[from + i] = (float) (sign * normal.inverseCumulativeProbability(probability));
    }
  }
}
