package io.peft4j.torch;

import ai.djl.ndarray.NDArray;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import com.sun.jna.Function;
import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import com.sun.jna.NativeLong;
import com.sun.jna.Pointer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The resident memory of an array that lies in a mapped file. Pages that have been read stay in
 * memory until they are given back; then they come again from the file when they are next read,
 * mostly out of the system's cache of it. Linux only; elsewhere nothing is found to give back.
 */
public final class MappedPages {
  private static final Logger LOG = LoggerFactory.getLogger(MappedPages.class);
  private static final Path MAPPINGS = Path.of("/proc/self/maps");
  private static final long PAGE = 4096;
  private static final int DONT_NEED = 4;

  /** The first value of an array, of whatever type. */
  private static final Kernel FIRST =
      Kernel.of("x: Tensor -> Tensor", "return torch.slice(torch.reshape(x, [-1]), 0, 0, 1, 1)");

  private final long begin;
  private final long bytes;

  private MappedPages(long begin, long bytes) {
    this.begin = begin;
    this.bytes = bytes;
  }

  /** The system's call, if it is there. */
  private static final class Advice {
    private static final @Nullable Function CALL = find();

    private static @Nullable Function find() {
      try {
        return Files.isReadable(MAPPINGS)
            ? NativeLibrary.getInstance("c").getFunction("madvise")
            : null;
      } catch (LinkageError e) {
        LOG.debug("pages of mapped files stay in memory", e);
        return null;
      }
    }
  }

  /**
   * Finds the pages of an array, if it lies in a mapped file. It must stay open as long as the
   * pages are used, and nothing may ever be written to it: that would be lost.
   *
   * @param array contiguous array of the CPU, float16 or bfloat16
   * @return its whole pages; empty if it lies in other memory or has none
   */
  public static Optional<MappedPages> ofHalf(NDArray array) {
    if (Advice.CALL == null || array.getDevice().isGpu()) {
      return Optional.empty();
    }
    long first;
    try (GradMode off = GradMode.off();
        NDArray start = FIRST.call(array)) {
      // Asks for no type, so that bfloat16 does no harm.
      ByteBuffer buffer = JniUtils.getByteBuffer((PtNDArray) start, true);
      first = Pointer.nativeValue(Native.getDirectBufferPointer(buffer));
    }
    return of(first, array.getShape().size() * Short.BYTES);
  }

  private static Optional<MappedPages> of(long first, long size) {
    long begin = (first + PAGE - 1) / PAGE * PAGE;
    long end = (first + size) / PAGE * PAGE;
    try (Stream<String> lines = Files.lines(MAPPINGS, StandardCharsets.ISO_8859_1)) {
      return begin < end && lines.anyMatch(line -> holds(line, begin, end))
          ? Optional.of(new MappedPages(begin, end - begin))
          : Optional.empty();
    } catch (IOException | UncheckedIOException | NumberFormatException e) {
      LOG.debug("pages of mapped files stay in memory", e);
      return Optional.empty();
    }
  }

  /** Whether a line of the form "begin-end access offset device inode file" is of a file. */
  private static boolean holds(String line, long begin, long end) {
    String[] fields = line.split(" +", 6);
    String[] range = fields[0].split("-", 2);
    return fields.length == 6
        && !fields[4].equals("0")
        && Long.compareUnsigned(Long.parseUnsignedLong(range[0], 16), begin) <= 0
        && Long.compareUnsigned(Long.parseUnsignedLong(range[1], 16), end) >= 0;
  }

  /** Gives the pages back. The array stays as it is; reading it brings them again. */
  public void release() {
    Function call = Advice.CALL;
    if (call != null) {
      call.invokeInt(new Object[] {new Pointer(begin), new NativeLong(bytes), DONT_NEED});
    }
  }
}
