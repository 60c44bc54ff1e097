package io.peft4j.state;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * A file mapped for reading from Java, in windows, since a buffer ends at 2^31 - 1 bytes.
 *
 * <p>Everything is mapped at once, so that no channel stays open that an interrupt could close for
 * all threads. Windows begin every 2^30 bytes and overlap, so that any range of up to 2^30 bytes
 * lies in one; tensors between that and a buffer's limit get a window of their own. The memory is
 * unmapped when the last buffer over it is garbage. Nothing needs closing.
 */
public final class MappedFile {
  /** The longest range that can be had from any place: 2^30 bytes. */
  public static final int STRIDE = 1 << 30;

  private final List<MappedByteBuffer> windows = new ArrayList<>();
  private final Map<Long, MappedByteBuffer> large = new HashMap<>();
  private final long stride;

  private MappedFile(long stride) {
    this.stride = stride;
  }

  /**
   * Maps a file.
   *
   * @param channel the file; the caller closes it, which leaves the mapping as it is
   * @param dataStart the byte from which the places of tensors are counted
   * @param tensors the tensors; those of 2^30 to 2^31 - 1 bytes can be had as one buffer
   * @return the mapped file
   * @throws IOException if the file cannot be mapped
   */
  public static MappedFile map(FileChannel channel, long dataStart, Iterable<TensorInfo> tensors)
      throws IOException {
    return map(channel, dataStart, tensors, STRIDE, Integer.MAX_VALUE);
  }

  /** With other sizes for tests: windows of {@code limit} bytes that begin every {@code stride}. */
  static MappedFile map(
      FileChannel channel, long dataStart, Iterable<TensorInfo> tensors, long stride, long limit)
      throws IOException {
    MappedFile mapped = new MappedFile(stride);
    long size = channel.size();
    for (long start = 0; start < size; start += stride) {
      mapped.windows.add(window(channel, start, Math.min(limit, size - start)));
    }
    for (TensorInfo info : tensors) {
      if (info.bytes() > stride && info.bytes() <= limit) {
        long start = dataStart + info.begin();
        mapped.large.put(start, window(channel, start, info.bytes()));
      }
    }
    return mapped;
  }

  private static MappedByteBuffer window(FileChannel channel, long start, long length)
      throws IOException {
    return channel.map(FileChannel.MapMode.READ_ONLY, start, length);
  }

  /**
   * A part of the file, not copied. The caller has checked that it lies in the file.
   *
   * @param start first byte in the file of the tensor
   * @param offset first byte in the tensor
   * @param length number of bytes; at most 2^30 if the tensor is larger than a buffer can be
   * @return read-only little-endian buffer from position 0
   */
  public ByteBuffer slice(long start, long offset, int length) {
    if (length == 0) {
      return ByteBuffer.allocateDirect(0).asReadOnlyBuffer().order(ByteOrder.LITTLE_ENDIAN);
    }
    MappedByteBuffer own = large.get(start);
    if (own != null) {
      return own.slice((int) offset, length).order(ByteOrder.LITTLE_ENDIAN);
    }
    long position = start + offset;
    int window = (int) (position / stride);
    return windows
        .get(window)
        .slice((int) (position - window * stride), length)
        .order(ByteOrder.LITTLE_ENDIAN);
  }
}
