package io.peft4j.qlora.block;

/** The largest magnitude of each block, however it is stored. */
public interface Scales {

  /**
   * How many blocks there are.
   *
   * @return number of blocks
   */
  int count();

  /**
   * Reads some.
   *
   * @param first the first block
   * @param count how many
   * @param to takes them from index 0
   */
  void read(int first, int count, float[] to);

  /**
   * What they take.
   *
   * @return bytes held
   */
  long bytes();
}
