package io.peft4j.models.gguf;

import ai.djl.ndarray.types.Shape;
import io.peft4j.state.AtomicFiles;
import io.peft4j.state.HalfPrecision;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Writes what {@link GgufFile} reads: version 3, little-endian, tensors in the order they were
 * given, each at a multiple of 32 bytes.
 */
final class GgufWriter {
  private static final int ALIGNMENT = 32;
  private static final int VERSION = 3;
  private static final int U32 = 4;
  private static final int F32 = 6;
  private static final int STRING = 8;

  /** About how many values are packed at once. */
  private static final int PIECE = 1 << 22;

  private final ByteArrayOutputStream keys = new ByteArrayOutputStream();
  private final List<Tensor> tensors = new ArrayList<>();
  private long keyCount;

  /** Gives a tensor's values, as they are to lie in the file. */
  interface Source {
    /** Some rows: {@code count} times the row length values, from row {@code first}. */
    float[] rows(long first, int count);
  }

  private record Tensor(String name, GgufType type, Shape shape, Source source) {
    long bytes() {
      return type.bytes(shape.size());
    }
  }

  GgufWriter text(String key, String value) {
    byte[] utf8 = value.getBytes(StandardCharsets.UTF_8);
    key(key, STRING, little(8 + utf8.length).putLong(utf8.length).put(utf8));
    return this;
  }

  GgufWriter integer(String key, int value) {
    key(key, U32, little(4).putInt(value));
    return this;
  }

  GgufWriter number(String key, float value) {
    key(key, F32, little(4).putFloat(value));
    return this;
  }

  /** A key of another file, as it lies there. */
  GgufWriter entry(ByteBuffer entry) {
    byte[] bytes = new byte[entry.remaining()];
    entry.duplicate().get(bytes);
    keys.writeBytes(bytes);
    keyCount++;
    return this;
  }

  private void key(String key, int type, ByteBuffer value) {
    keys.writeBytes(string(key));
    keys.writeBytes(little(4).putInt(type).array());
    keys.writeBytes(value.array());
    keyCount++;
  }

  /** A tensor whose rows are whole blocks of its type; the values are asked for while writing. */
  GgufWriter tensor(String name, GgufType type, Shape shape, Source source) {
    tensors.add(new Tensor(name, type, shape, source));
    return this;
  }

  /** Writes the file, which appears whole or not at all. */
  void write(Path target) {
    AtomicFiles.write(
        target,
        channel -> {
          put(channel, ByteBuffer.wrap(head()));
          for (Tensor tensor : tensors) {
            pad(channel);
            put(channel, tensor);
          }
          pad(channel);
        });
  }

  private byte[] head() {
    ByteArrayOutputStream head = new ByteArrayOutputStream();
    ByteBuffer start = little(24).putInt(GgufParser.MAGIC).putInt(VERSION);
    head.writeBytes(start.putLong(tensors.size()).putLong(keyCount).array());
    head.writeBytes(keys.toByteArray());
    long begin = 0;
    for (Tensor tensor : tensors) {
      head.writeBytes(string(tensor.name()));
      int dimensions = tensor.shape().dimension();
      ByteBuffer rest = little(16 + 8 * dimensions).putInt(dimensions);
      for (int i = dimensions - 1; i >= 0; i--) {
        rest.putLong(tensor.shape().get(i));
      }
      head.writeBytes(rest.putInt(tensor.type().id()).putLong(begin).array());
      begin += (tensor.bytes() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    return head.toByteArray();
  }

  private static void put(FileChannel channel, Tensor tensor) throws IOException {
    Shape shape = tensor.shape();
    int width = Math.toIntExact(shape.get(shape.dimension() - 1));
    long rows = shape.size() / width;
    int most = Math.max(1, PIECE / width);
    for (long first = 0; first < rows; first += most) {
      int count = (int) Math.min(most, rows - first);
      put(channel, pack(tensor.type(), tensor.source().rows(first, count)));
    }
  }

  /** Packs values, see {@link GgufType}. */
  private static ByteBuffer pack(GgufType type, float[] values) {
    ByteBuffer packed = little(Math.toIntExact(type.bytes(values.length)));
    switch (type) {
      case F32 -> packed.asFloatBuffer().put(values);
      case F16 -> {
        for (float value : values) {
          packed.putShort(HalfPrecision.toFloat16(value));
        }
        packed.rewind();
      }
      case Q8_0 -> {
        for (int begin = 0; begin < values.length; begin += type.blockSize()) {
          packBytes(values, begin, type.blockSize(), packed);
        }
        packed.rewind();
      }
      default -> throw new IllegalStateException("no packing for " + type);
    }
    return packed;
  }

  /** The largest magnitude becomes 127; halves round away from zero, as llama.cpp has it. */
  private static void packBytes(float[] values, int begin, int count, ByteBuffer into) {
    float largest = 0;
    for (int i = begin; i < begin + count; i++) {
      largest = Math.max(largest, Math.abs(values[i]));
    }
    float step = largest / 127;
    float factor = step == 0 ? 0 : 1 / step;
    into.putShort(HalfPrecision.toFloat16(step));
    for (int i = begin; i < begin + count; i++) {
      float scaled = values[i] * factor;
      into.put((byte) Math.copySign((float) Math.floor(Math.abs(scaled) + 0.5f), scaled));
    }
  }

  private static void pad(FileChannel channel) throws IOException {
    int over = (int) (channel.position() % ALIGNMENT);
    put(channel, ByteBuffer.allocate(over == 0 ? 0 : ALIGNMENT - over));
  }

  private static void put(FileChannel channel, ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      channel.write(bytes);
    }
  }

  private static byte[] string(String text) {
    byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
    return little(8 + utf8.length).putLong(utf8.length).put(utf8).array();
  }

  private static ByteBuffer little(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
