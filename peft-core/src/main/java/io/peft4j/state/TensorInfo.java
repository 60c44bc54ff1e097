package io.peft4j.state;

import ai.djl.ndarray.types.Shape;

/**
 * Where a tensor lies in a file and what it is. Made by {@link SafeTensors}, which has checked that
 * the size fits type and shape.
 *
 * @param name the tensor's name
 * @param type the element type
 * @param shape the shape; no dimensions for a single value
 * @param begin first byte, counted from the start of the file's data section
 * @param end byte after the last one, counted likewise
 */
public record TensorInfo(String name, TensorType type, Shape shape, long begin, long end) {

  /**
   * The size of the tensor in the file.
   *
   * @return bytes
   */
  public long bytes() {
    return end - begin;
  }

  /**
   * The number of elements.
   *
   * @return the product of the dimensions; 1 for a single value
   */
  public long elements() {
    return bytes() * 8 / type.bits();
  }
}
