package io.peft4j.qlora.block;

import io.peft4j.MalformedFileException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.IntBuffer;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Values of 4 bits in blocks, each with its scale. Immutable; whoever gave the buffers sees to it
 * that their memory stays.
 *
 * <p>Packed and unpacked by the threads of the common pool, for tensors that are worth it.
 *
 * @param type the code book
 * @param blockSize values of a block, one of {@link #BLOCK_SIZES}; the last may have fewer
 * @param count number of values
 * @param packed two codes a byte, the first in the high half, from position 0
 * @param scales one for each block
 */
public record PackedBlocks(
    QuantType type, int blockSize, long count, ByteBuffer packed, Scales scales) {
  /** The sizes that a block may have. */
  public static final Set<Integer> BLOCK_SIZES = Set.of(32, 64, 128, 256, 512, 1024, 2048, 4096);

  /** Values that are packed or unpacked at once: whole blocks, and little enough for the cache. */
  public static final int CHUNK = 4096;

  /** The most values that can be held: their bytes must fit a buffer. */
  public static final long MOST = 2L * (Integer.MAX_VALUE - 8);

  /** The longest row that is multiplied as it is unpacked. */
  private static final int MOST_ROW = 1 << 20;

  /** What bitsandbytes puts in the place of scales that are smaller. */
  private static final float LEAST_SCALE = 1e-38f;

  /** Gives memory for a number of bytes, from position 0 and zero. */
  @FunctionalInterface
  public interface Allocator {
    /**
     * Gives memory.
     *
     * @param bytes how much
     * @return a buffer of that many bytes
     */
    ByteBuffer allocate(int bytes);
  }

  /** The mean of float32 values as the engine computes it. */
  @FunctionalInterface
  public interface Mean {
    /**
     * Computes it.
     *
     * @param values the values
     * @return their mean
     */
    float of(float[] values);
  }

  /**
   * How many blocks some values make.
   *
   * @param count number of values
   * @param blockSize values of a block
   * @return number of blocks
   */
  public static int blocks(long count, int blockSize) {
    return Math.toIntExact((count + blockSize - 1) / blockSize);
  }

  /**
   * Quantizes, as bitsandbytes' native code does on the CPU.
   *
   * @param type the code book
   * @param blockSize one of {@link #BLOCK_SIZES}
   * @param mean quantizes the scales too, with this mean; null to leave them in float32
   * @param count number of values, from 1 to {@link #MOST}
   * @param source the values
   * @param path what messages call them
   * @param allocator gives the memory that is kept
   * @return the blocks
   * @throws MalformedFileException if a value is NaN or infinite, or the mean of the scales is
   */
  public static PackedBlocks quantize(
      QuantType type,
      int blockSize,
      @Nullable Mean mean,
      long count,
      ValueSource source,
      String path,
      Allocator allocator) {
    float[] scales = new float[blocks(count, blockSize)];
    ByteBuffer packed = allocator.allocate(Math.toIntExact((count + 1) / 2));
    Spans.forEach(
        count,
        (first, end) -> {
          float[] values = new float[CHUNK];
          byte[] bytes = new byte[CHUNK / 2];
          for (long at = first; at < end; at += CHUNK) {
            int now = (int) Math.min(CHUNK, end - at);
            source.read(at, now, values);
            pack(type, blockSize, values, now, at, path, scales, bytes);
            packed.put((int) (at / 2), bytes, 0, (now + 1) / 2);
          }
        });
    Scales kept;
    if (mean != null) {
      float offset = mean.of(scales);
      if (!Float.isFinite(offset)) {
        throw new MalformedFileException(
            path + ": the values are too large for double quantization: their scales have no mean");
      }
      kept = NestedScales.of(scales, offset, allocator.allocate(scales.length));
    } else {
      ByteBuffer floats = allocator.allocate(scales.length * Float.BYTES);
      floats.duplicate().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().put(scales);
      kept = new PlainScales(floats);
    }
    return new PackedBlocks(type, blockSize, count, packed, kept);
  }

  private static void pack(
      QuantType type,
      int blockSize,
      float[] values,
      int count,
      long position,
      String path,
      float[] scales,
      byte[] to) {
    for (int begin = 0; begin < count; begin += blockSize) {
      int end = Math.min(begin + blockSize, count);
      float most = largest(values, begin, end, position, path);
      if (end - begin == blockSize) {
        float inverse = 1 / Math.max(most, LEAST_SCALE);
        for (int i = begin; i < end; i++) {
          values[i] = Math.max(-1, Math.min(1, values[i] * inverse));
        }
      } else {
        // The last block of a tensor, if it is not full, is computed in another way.
        most = Math.max(most, LEAST_SCALE);
        for (int i = begin; i < end; i++) {
          values[i] = Math.max(-1, Math.min(1, values[i] / most));
        }
        if (end % 2 != 0) {
          values[end] = 0;
        }
      }
      scales[(int) ((position + begin) / blockSize)] = most;
      for (int i = begin; i < end; i += 2) {
        to[i / 2] = (byte) (type.code(values[i]) << 4 | type.code(values[i + 1]));
      }
    }
  }

  private static float largest(float[] values, int begin, int end, long position, String path) {
    float most = 0;
    for (int i = begin; i < end; i++) {
      most = Math.max(most, Math.abs(values[i]));
    }
    if (!Float.isFinite(most)) {
      int bad = begin;
      while (Float.isFinite(values[bad])) {
        bad++;
      }
      throw new MalformedFileException(
          path
              + ": value "
              + (position + bad)
              + " is "
              + values[bad]
              + "; only finite weights can be quantized");
    }
    return most;
  }

  /**
   * Unpacks values.
   *
   * @param form what each product of code and scale becomes
   * @param destination takes them from position 0, in native byte order
   * @param first the first value, a multiple of {@link #CHUNK}
   * @param values how many
   */
  public void unpack(Form form, ByteBuffer destination, long first, int values) {
    unpack(Decoders.best(), form, destination, first, values);
  }

  /** With kernels of choice. */
  void unpack(BlockDecoder decoder, Form form, ByteBuffer destination, long first, int values) {
    ByteBuffer to = destination.slice().order(ByteOrder.nativeOrder());
    Spans.forEach(values, (begin, end) -> unpack(decoder, form, to, first, begin, end));
  }

  private void unpack(
      BlockDecoder decoder, Form form, ByteBuffer to, long first, long begin, long end) {
    int valuesOfInt = form.half() ? 2 : 1;
    int[] bits = new int[CHUNK / valuesOfInt];
    byte[] bytes = new byte[CHUNK / 2];
    float[] blockScales = new float[CHUNK / blockSize];
    IntBuffer ints = to.asIntBuffer();
    for (long at = begin; at < end; at += CHUNK) {
      int now = (int) Math.min(CHUNK, end - at);
      int blocks = load(first + at, now, bytes, blockScales);
      decoder.unpack(type, form, bytes, blocks, blockScales, blockSize, bits);
      ints.put((int) at / valuesOfInt, bits, 0, now / valuesOfInt);
      if (now % valuesOfInt != 0) {
        to.putShort((int) (at + now - 1) * Short.BYTES, (short) bits[now / valuesOfInt]);
      }
    }
  }

  /**
   * Tells whether {@link #multiply} can take rows of a length: each must be whole blocks.
   *
   * @param in values of a row
   * @return whether it can
   */
  public boolean hasRows(long in) {
    return in % blockSize == 0 && in <= MOST_ROW;
  }

  /**
   * Multiplies rows of activations by the matrix that these blocks are, as it is unpacked: at most
   * a row of weights for each thread exists unpacked.
   *
   * @param form a form of 32 bits, which weights are rounded to before they are multiplied
   * @param x [rows, in]
   * @param in values of a row, for which {@link #hasRows} holds
   * @param to takes [rows, out]
   */
  public void multiply(Form form, float[] x, int in, float[] to) {
    multiply(Decoders.best(), form, x, in, to);
  }

  /** With kernels of choice. */
  void multiply(BlockDecoder decoder, Form form, float[] x, int in, float[] to) {
    int rows = x.length / in;
    int outs = Math.toIntExact(count / in);
    Spans.forEachRow(
        outs,
        in,
        (begin, end) -> {
          byte[] bytes = new byte[in / 2];
          float[] blockScales = new float[in / blockSize];
          int[] bits = new int[in];
          for (int out = (int) begin; out < end; out++) {
            int blocks = load((long) out * in, in, bytes, blockScales);
            decoder.unpack(type, form, bytes, blocks, blockScales, blockSize, bits);
            for (int row = 0; row < rows; row++) {
              to[row * outs + out] = decoder.dot(bits, x, row * in, in);
            }
          }
        });
  }

  /** Fetches codes and scales of a chunk; what is behind the last value is never looked at. */
  private int load(long first, int values, byte[] bytes, float[] blockScales) {
    packed.get((int) (first / 2), bytes, 0, (values + 1) / 2);
    int blocks = blocks(values, blockSize);
    scales.read((int) (first / blockSize), blocks, blockScales);
    return blocks;
  }

  /**
   * What the blocks take.
   *
   * @return bytes held, codes and scales
   */
  public long bytes() {
    return packed.limit() + scales.bytes();
  }
}
