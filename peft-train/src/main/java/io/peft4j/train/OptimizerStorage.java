package io.peft4j.train;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * How {@link AdamW} holds its moments: in 32 or in 8 bits, in memory or in a file that the
 * operating system pages in and out.
 *
 * <p>In 8 bits, parameters of {@value #LEAST_VALUES} values or more have their moments in blocks of
 * {@value #BLOCK}, each value a code of bitsandbytes' {@linkplain io.peft4j.state.DynamicMap
 * dynamic maps} and each block with its largest magnitude: a quarter of the memory. Smaller ones
 * stay in 32 bits, as in bitsandbytes. Paging changes no number.
 *
 * @param eightBit whether large moments have 8 bits
 * @param pages the directory of the file; null for memory. The file has the size of all moments
 *     from the beginning, is nobody else's, and is gone when the optimizer is closed or the process
 *     ends
 */
public record OptimizerStorage(boolean eightBit, @Nullable Path pages) {
  /** From how many values on a parameter's moments have 8 bits. */
  public static final int LEAST_VALUES = 4096;

  /** Values that share a scale. */
  public static final int BLOCK = 256;

  /**
   * 32 bits in memory.
   *
   * @return the storage
   */
  public static OptimizerStorage plain() {
    return new OptimizerStorage(false, null);
  }

  /**
   * 8 bits.
   *
   * @return the same, with large moments in 8 bits
   */
  public OptimizerStorage inEightBits() {
    return new OptimizerStorage(true, pages);
  }

  /**
   * Paged.
   *
   * @param directory where the file is put; made if it is not there
   * @return the same, in a file
   */
  public OptimizerStorage pagedIn(Path directory) {
    return new OptimizerStorage(eightBit, directory);
  }
}
