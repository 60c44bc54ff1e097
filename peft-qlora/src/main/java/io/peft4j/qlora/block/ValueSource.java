package io.peft4j.qlora.block;

/** Where values to be quantized come from. May be read by several threads at once. */
@FunctionalInterface
public interface ValueSource {

  /**
   * Reads some values.
   *
   * @param first the first of them
   * @param count how many, at most {@link PackedBlocks#CHUNK}
   * @param to takes them from index 0, widened to float32
   */
  void read(long first, int count, float[] to);
}
