package io.peft4j.models.onnx;

import io.peft4j.MalformedFileException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * A constant tensor of an ONNX file: a weight, or the value of a {@code Constant} node. Immutable;
 * its values usually lie in the file's own buffer, which they keep alive.
 */
public final class OnnxTensor {
  private final String name;
  private final OnnxType type;
  private final long[] shape;
  private final long elements;
  private final @Nullable ByteBuffer data;
  private final String unreadable;

  OnnxTensor(
      String name,
      OnnxType type,
      long[] shape,
      long elements,
      @Nullable ByteBuffer data,
      String unreadable) {
    this.name = name;
    this.type = type;
    this.shape = shape;
    this.elements = elements;
    this.data = data;
    this.unreadable = unreadable;
  }

  /**
   * The name, by which nodes take it as an input.
   *
   * @return the name, empty for the value of an attribute
   */
  public String name() {
    return name;
  }

  /**
   * The element type.
   *
   * @return the type of every element
   */
  public OnnxType type() {
    return type;
  }

  /**
   * The shape.
   *
   * @return a copy of the sizes, outermost first; empty for a scalar
   */
  public long[] shape() {
    return shape.clone();
  }

  /**
   * The number of elements.
   *
   * @return the product of the shape; 1 for a scalar
   */
  public long elements() {
    return elements;
  }

  /**
   * The values, little-endian and row-major, without padding.
   *
   * @return a read-only view with a position of its own, from 0 to the size in bytes. It need not
   *     lie at a multiple of the element size in memory, and may lie in a file mapped for reading:
   *     native code that writes into it ends the process
   * @throws MalformedFileException if the file keeps these values in a form that is not read here
   *     (strings, and small integers that are not in {@code raw_data})
   */
  public ByteBuffer data() {
    if (data == null) {
      throw new MalformedFileException(unreadable);
    }
    return data.asReadOnlyBuffer().order(ByteOrder.LITTLE_ENDIAN);
  }

  @Override
  public String toString() {
    return name + " " + type + Arrays.toString(shape);
  }
}
