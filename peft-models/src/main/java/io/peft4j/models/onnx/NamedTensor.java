package io.peft4j.models.onnx;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.Arrays;

/** A float32 weight under its Hugging Face name, in memory of its own outside the Java heap. */
public final class NamedTensor {
  private final String name;
  private final long[] shape;
  private final ByteBuffer bytes;

  NamedTensor(String name, long[] shape, ByteBuffer bytes) {
    this.name = name;
    this.shape = shape;
    this.bytes = bytes;
  }

  /**
   * The parameter's name.
   *
   * @return a dotted path such as {@code encoder.layer.0.attention.self.query.weight}
   */
  public String name() {
    return name;
  }

  /**
   * The shape.
   *
   * @return a copy of the sizes, outermost first; [out, in] for a projection's weight
   */
  public long[] shape() {
    return shape.clone();
  }

  /**
   * The values, little-endian and row-major.
   *
   * @return a direct buffer with a position of its own, 4 bytes an element, aligned to 4 bytes. It
   *     shares its memory with every other view of this tensor and keeps it alive
   */
  public ByteBuffer bytes() {
    return bytes.duplicate().order(ByteOrder.LITTLE_ENDIAN);
  }

  /**
   * The values.
   *
   * @return {@link #bytes()} seen as floats
   */
  public FloatBuffer floats() {
    return bytes().asFloatBuffer();
  }

  @Override
  public String toString() {
    return name + Arrays.toString(shape);
  }
}
