package io.peft4j.qlora.block;

/**
 * Unpacks whole blocks from one Java array into another. All implementations give the same bits.
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
}
