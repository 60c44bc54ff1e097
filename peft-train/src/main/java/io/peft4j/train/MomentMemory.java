package io.peft4j.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftException;
import io.peft4j.state.AtomicFiles;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.jspecify.annotations.Nullable;

/**
 * Memory for moments, zero at first: the engine's, or pages of a file. What is not paged is freed
 * with the managers and buffers that hold it; the file when this is closed.
 */
final class MomentMemory implements AutoCloseable {
  private static final int PIECE = 1 << 20;

  private final @Nullable Path file;
  private final @Nullable FileChannel channel;

  /**
   * Makes the file if there is to be one.
   *
   * @throws PeftException if it cannot be made
   */
  MomentMemory(OptimizerStorage storage) {
    Path directory = storage.pages();
    if (directory == null) {
      file = null;
      channel = null;
      return;
    }
    AtomicFiles.createDirectories(directory);
    try {
      file = Files.createTempFile(directory, ".optimizer-", ".pages");
      channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE);
    } catch (IOException e) {
      throw new PeftException(directory + ": the optimizer's pages cannot be put there: " + e, e);
    }
    // Where a file that is in use may be deleted, a killed process leaves nothing behind.
    delete();
  }

  /** A float32 array of zeros; the manager's, which is closed before this. */
  NDArray zeros(NDManager manager, Shape shape) {
    return channel == null
        ? manager.zeros(shape, DataType.FLOAT32)
        : manager.create(allocate(shape.size() * Float.BYTES), shape, DataType.FLOAT32);
  }

  /** Zeros in native byte order. */
  ByteBuffer allocate(long bytes) {
    if (bytes > Integer.MAX_VALUE) {
      throw new InvalidConfigException(
          "moments of " + bytes + " bytes are too large: at most " + Integer.MAX_VALUE);
    }
    ByteBuffer memory =
        channel == null ? ByteBuffer.allocateDirect((int) bytes) : map(channel, (int) bytes);
    return memory.order(ByteOrder.nativeOrder());
  }

  /** Zeros are written first: a page that the disk has no room for would end the process later. */
  private ByteBuffer map(FileChannel pages, int bytes) {
    try {
      long start = pages.size();
      ByteBuffer zeros = ByteBuffer.allocate(Math.min(PIECE, bytes));
      for (long written = 0; written < bytes; ) {
        zeros.clear().limit((int) Math.min(zeros.capacity(), bytes - written));
        written += pages.write(zeros, start + written);
      }
      return pages.map(FileChannel.MapMode.READ_WRITE, start, bytes);
    } catch (IOException e) {
      throw new PeftException(file + ": there is no room for the optimizer's pages: " + e, e);
    }
  }

  private void delete() {
    if (file == null) {
      return;
    }
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      file.toFile().deleteOnExit();
    }
  }

  @Override
  public void close() {
    if (channel == null) {
      return;
    }
    try {
      channel.close();
    } catch (IOException e) {
      throw new PeftException(file + ": cannot be closed: " + e, e);
    }
    delete();
  }
}
