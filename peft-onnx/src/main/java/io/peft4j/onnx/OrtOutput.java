package io.peft4j.onnx;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** An output of a graph, copied out of it. */
public final class OrtOutput {
  private final long[] shape;
  private final float[] values;

  OrtOutput(long[] shape, float[] values) {
    this.shape = shape;
    this.values = values;
  }

  /**
   * The shape.
   *
   * @return a copy of the sizes, outermost first
   */
  public long[] shape() {
    return shape.clone();
  }

  /**
   * The values.
   *
   * @return a copy, row-major
   */
  public float[] values() {
    return values.clone();
  }

  float value(int index) {
    return values[index];
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof OrtOutput output
        && Arrays.equals(shape, output.shape)
        && Arrays.equals(values, output.values);
  }

  @Override
  public int hashCode() {
    return 31 * Arrays.hashCode(shape) + Arrays.hashCode(values);
  }

  @Override
  public String toString() {
    return Arrays.toString(shape);
  }
}
