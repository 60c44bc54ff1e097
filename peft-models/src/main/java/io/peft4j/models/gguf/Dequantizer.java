package io.peft4j.models.gguf;

import io.peft4j.state.HalfPrecision;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.stream.IntStream;

/**
 * Unpacks the values of one tensor to float32, as {@link GgufType} describes the types. Sums and
 * products are rounded one by one, so every implementation of the format gives the same bits.
 */
final class Dequantizer {
  /** Values one task unpacks: large enough to be worth a task. A multiple of every block. */
  private static final int TASK = 1 << 17;

  /** Values that go through heap arrays at once. A multiple of every block. */
  private static final int PIECE = 1 << 12;

  private final GgufFile file;
  private final GgufTensor tensor;

  Dequantizer(GgufFile file, GgufTensor tensor) {
    this.file = file;
    this.tensor = tensor;
  }

  GgufTensor tensor() {
    return tensor;
  }

  /**
   * Unpacks on all cores.
   *
   * @param first the first value, a multiple of the block's size
   * @param count how many, a multiple of it
   * @param destination takes them from position 0
   */
  void all(long first, int count, FloatBuffer destination) {
    IntStream.range(0, (int) (((long) count + TASK - 1) / TASK))
        .parallel()
        .forEach(
            task -> {
              int begin = task * TASK;
              int now = Math.min(TASK, count - begin);
              some(first + begin, now, destination.slice(begin, now));
            });
  }

  /** Unpacks on this thread; as {@link #all}. */
  void some(long first, int count, FloatBuffer destination) {
    GgufType type = tensor.type();
    int width = type.blockBytes();
    ByteBuffer source =
        file.buffer(
            tensor.name(), first / type.blockSize() * width, Math.toIntExact(type.bytes(count)));
    int piece = Math.min(PIECE, count);
    byte[] packed = new byte[(int) type.bytes(piece)];
    float[] values = new float[piece];
    FloatBuffer target = destination.duplicate();
    for (int done = 0; done < count; done += piece) {
      int now = Math.min(piece, count - done);
      int blocks = now / type.blockSize();
      source.get(packed, 0, blocks * width);
      unpack(type, packed, values, blocks);
      target.put(values, 0, now);
    }
  }

  /** Unpacks whole blocks from the start of one array to the start of another. */
  static void unpack(GgufType type, byte[] packed, float[] values, int blocks) {
    switch (type) {
      case F32 ->
          ByteBuffer.wrap(packed)
              .order(ByteOrder.LITTLE_ENDIAN)
              .asFloatBuffer()
              .get(values, 0, blocks);
      case F16 -> {
        for (int i = 0; i < blocks; i++) {
          values[i] = half(packed, 2 * i);
        }
      }
      case BF16 -> {
        for (int i = 0; i < blocks; i++) {
          values[i] = HalfPrecision.fromBfloat16(bits(packed, 2 * i));
        }
      }
      case Q8_0 -> {
        for (int i = 0; i < blocks; i++) {
          eightBits(packed, i * type.blockBytes(), values, i * type.blockSize());
        }
      }
      case Q4_0 -> {
        for (int i = 0; i < blocks; i++) {
          fourBits(packed, i * type.blockBytes(), values, i * type.blockSize());
        }
      }
      case Q4_1 -> {
        for (int i = 0; i < blocks; i++) {
          fourBitsWithOffset(packed, i * type.blockBytes(), values, i * type.blockSize());
        }
      }
      case Q4_K -> {
        for (int i = 0; i < blocks; i++) {
          fourBitsInGroups(packed, i * type.blockBytes(), values, i * type.blockSize());
        }
      }
      case Q6_K -> {
        for (int i = 0; i < blocks; i++) {
          sixBitsInGroups(packed, i * type.blockBytes(), values, i * type.blockSize());
        }
      }
    }
  }

  private static void eightBits(byte[] packed, int from, float[] values, int to) {
    float d = half(packed, from);
    for (int i = 0; i < 32; i++) {
      values[to + i] = d * packed[from + 2 + i];
    }
  }

  private static void fourBits(byte[] packed, int from, float[] values, int to) {
    float d = half(packed, from);
    for (int i = 0; i < 16; i++) {
      byte two = packed[from + 2 + i];
      values[to + i] = d * ((two & 0xf) - 8);
      values[to + 16 + i] = d * (((two >> 4) & 0xf) - 8);
    }
  }

  private static void fourBitsWithOffset(byte[] packed, int from, float[] values, int to) {
    float d = half(packed, from);
    float m = half(packed, from + 2);
    for (int i = 0; i < 16; i++) {
      byte two = packed[from + 4 + i];
      values[to + i] = d * (two & 0xf) + m;
      values[to + 16 + i] = d * ((two >> 4) & 0xf) + m;
    }
  }

  private static void fourBitsInGroups(byte[] packed, int from, float[] values, int to) {
    float d = half(packed, from);
    float e = half(packed, from + 2);
    int s = from + 4;
    for (int group = 0; group < 8; group++) {
      int scale;
      int minimum;
      if (group < 4) {
        scale = packed[s + group] & 0x3f;
        minimum = packed[s + group + 4] & 0x3f;
      } else {
        int low = packed[s + group + 4];
        scale = (low & 0xf) | ((packed[s + group - 4] & 0xc0) >> 2);
        minimum = ((low >> 4) & 0xf) | ((packed[s + group] & 0xc0) >> 2);
      }
      float factor = d * scale;
      float offset = e * minimum;
      int q = from + 16 + 32 * (group / 2);
      int shift = 4 * (group % 2);
      for (int i = 0; i < 32; i++) {
        values[to + 32 * group + i] = factor * ((packed[q + i] >> shift) & 0xf) - offset;
      }
    }
  }

  private static void sixBitsInGroups(byte[] packed, int from, float[] values, int to) {
    float d = half(packed, from + 208);
    for (int part = 0; part < 8; part++) {
      int inHalf = part % 4;
      int low = from + 64 * (part / 4) + 32 * (inHalf % 2);
      int lowShift = 4 * (inHalf / 2);
      int high = from + 128 + 32 * (part / 4);
      int highShift = 2 * inHalf;
      for (int group = 0; group < 2; group++) {
        float factor = d * packed[from + 192 + 2 * part + group];
        for (int i = 16 * group; i < 16 * group + 16; i++) {
          int q =
              ((packed[low + i] >> lowShift) & 0xf) | (((packed[high + i] >> highShift) & 3) << 4);
          values[to + 32 * part + i] = factor * (q - 32);
        }
      }
    }
  }

  private static short bits(byte[] packed, int at) {
    return (short) ((packed[at] & 0xff) | (packed[at + 1] << 8));
  }

  private static float half(byte[] packed, int at) {
    return HalfPrecision.fromFloat16(bits(packed, at));
  }
}
