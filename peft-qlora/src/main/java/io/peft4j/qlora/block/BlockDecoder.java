package io.peft4j.qlora.block;

/**
 * Unpacks whole blocks from one Java array into another, and multiplies what was unpacked. All
 * implementations unpack the same bits; products differ in the order of their sums.
 */
interface BlockDecoder {

  /** What the log calls it. */
  String description();

  /**
   * Unpacks.
   *
   * @param type the code book
   * @param form what becomes of the product of a code's value and its block's scale
   * @param packed two codes a byte, the first in the high half
   * @param blocks number of blocks
   * @param scales one for each block
   * @param blockSize values of a block, a multiple of 32
   * @param to takes the bits of a value each, or of two values of 16 bits, the first in the low
   *     half
   */
  void unpack(
      QuantType type,
      Form form,
      byte[] packed,
      int blocks,
      float[] scales,
      int blockSize,
      int[] to);

  /**
   * Multiplies a row of unpacked weights by a row of activations.
   *
   * @param bits the weights' bits, float32
   * @param x activations in their own order
   * @param begin the row's first
   * @param count values of a row, a multiple of 32
   * @return the sum of the products
   */
  float dot(int[] bits, float[] x, int begin, int count);
}
