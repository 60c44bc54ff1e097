package io.peft4j.qlora.block;

/**
 * Unpacks whole blocks from one Java array into another: the product of a code's value and its
 * block's scale in float32, rounded to the type asked for. All implementations give the same bits.
 */
interface BlockDecoder {

  /** What the log calls it. */
  String description();

  /**
   * Unpacks to float32.
   *
   * @param type the code book
   * @param packed two codes a byte, the first in the high half
   * @param blocks number of blocks
   * @param scales one for each block
   * @param blockSize values of a block, a multiple of 32
   * @param to takes the values
   */
  void float32(
      QuantType type, byte[] packed, int blocks, float[] scales, int blockSize, float[] to);

  /**
   * Unpacks to 16 bits.
   *
   * @param half how values are rounded
   * @param to takes two values each, the first in the low half
   */
  void half(
      QuantType type,
      Half half,
      byte[] packed,
      int blocks,
      float[] scales,
      int blockSize,
      int[] to);
}
