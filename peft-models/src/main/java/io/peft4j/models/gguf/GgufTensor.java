package io.peft4j.models.gguf;

import ai.djl.ndarray.types.Shape;

/**
 * Where a tensor lies in a GGUF file and what it is. Made by {@link GgufFile}, which has checked
 * that type, shape and place fit the file.
 *
 * @param name the name in the file
 * @param type how the values are packed
 * @param shape the shape, the last dimension varying fastest (files list dimensions the other way
 *     round)
 * @param begin the first byte, counted from the start of the file's data
 */
public record GgufTensor(String name, GgufType type, Shape shape, long begin) {

  /**
   * The number of values.
   *
   * @return the product of the dimensions
   */
  public long elements() {
    return shape.size();
  }

  /**
   * The size in the file.
   *
   * @return bytes
   */
  public long bytes() {
    return type.bytes(elements());
  }

  /** The number of values that vary fastest. */
  long rowLength() {
    return shape.dimension() == 0 ? 1 : shape.get(shape.dimension() - 1);
  }
}
