package io.peft4j.models.gguf;

import io.peft4j.state.HalfPrecision;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/** Makes GGUF files, right ones and wrong ones. */
final class GgufBuilder {
  private record Tensor(String name, int type, long[] dimensions, long offset, int length) {}

  private final ByteArrayOutputStream keys = new ByteArrayOutputStream();
  private final List<Tensor> tensors = new ArrayList<>();
  private final ByteArrayOutputStream data = new ByteArrayOutputStream();
  private int keyCount;

  static GgufBuilder of(String architecture) {
    return new GgufBuilder().string("general.architecture", architecture);
  }

  /** A Llama of one layer: hidden size 8, two heads, one for keys; 6 tokens. */
  static GgufBuilder llama() {
    GgufBuilder builder =
        of("llama")
            .integer("llama.context_length", 32)
            .integer("llama.embedding_length", 8)
            .integer("llama.block_count", 1)
            .integer("llama.feed_forward_length", 12)
            .integer("llama.attention.head_count", 2)
            .integer("llama.attention.head_count_kv", 1)
            .number("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    shapes().forEach(builder::floats);
    return builder;
  }

  /** Names of the tensors to dimensions, the fastest first. */
  static Map<String, long[]> shapes() {
    Map<String, long[]> shapes = new LinkedHashMap<>();
    shapes.put("token_embd.weight", new long[] {8, 6});
    shapes.put("output_norm.weight", new long[] {8});
    shapes.put("blk.0.attn_norm.weight", new long[] {8});
    shapes.put("blk.0.ffn_norm.weight", new long[] {8});
    shapes.put("blk.0.attn_q.weight", new long[] {8, 8});
    shapes.put("blk.0.attn_k.weight", new long[] {8, 4});
    shapes.put("blk.0.attn_v.weight", new long[] {8, 4});
    shapes.put("blk.0.attn_output.weight", new long[] {8, 8});
    shapes.put("blk.0.ffn_gate.weight", new long[] {8, 12});
    shapes.put("blk.0.ffn_up.weight", new long[] {8, 12});
    shapes.put("blk.0.ffn_down.weight", new long[] {12, 8});
    return shapes;
  }

  GgufBuilder string(String key, String value) {
    key(key, 8);
    text(keys, value);
    return this;
  }

  GgufBuilder integer(String key, long value) {
    key(key, 10);
    keys.writeBytes(bytes(8).putLong(value).array());
    return this;
  }

  GgufBuilder number(String key, float value) {
    key(key, 6);
    keys.writeBytes(bytes(4).putFloat(value).array());
    return this;
  }

  GgufBuilder flag(String key, boolean value) {
    key(key, 7);
    keys.write(value ? 1 : 0);
    return this;
  }

  GgufBuilder strings(String key, String... values) {
    key(key, 9);
    keys.writeBytes(bytes(12).putInt(8).putLong(values.length).array());
    for (String value : values) {
      text(keys, value);
    }
    return this;
  }

  GgufBuilder integers(String key, int... values) {
    key(key, 9);
    keys.writeBytes(bytes(12).putInt(5).putLong(values.length).array());
    for (int value : values) {
      keys.writeBytes(bytes(4).putInt(value).array());
    }
    return this;
  }

  GgufBuilder numbers(String key, float... values) {
    key(key, 9);
    keys.writeBytes(bytes(12).putInt(6).putLong(values.length).array());
    for (float value : values) {
      keys.writeBytes(bytes(4).putFloat(value).array());
    }
    return this;
  }

  /** A key whose value is given byte for byte. */
  GgufBuilder raw(String key, int type, byte[] value) {
    key(key, type);
    keys.writeBytes(value);
    return this;
  }

  /** A float32 tensor of random values. */
  GgufBuilder floats(String name, long... dimensions) {
    long count = 1;
    for (long dimension : dimensions) {
      count *= dimension;
    }
    Random random = new Random(name.hashCode());
    float[] values = new float[(int) count];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian() / 4;
    }
    return floats(name, values, dimensions);
  }

  GgufBuilder floats(String name, float[] values, long... dimensions) {
    ByteBuffer bytes = bytes(4 * values.length);
    bytes.asFloatBuffer().put(values);
    return tensor(name, 0, data.size(), bytes.array(), dimensions);
  }

  /** A tensor of some type after the others: random blocks with small scales. */
  GgufBuilder random(String name, GgufType type, long... dimensions) {
    int blocks = (int) (dimensions[0] * dimensions[1] / type.blockSize());
    ByteBuffer bytes = bytes(blocks * type.blockBytes());
    Random random = new Random(name.hashCode());
    random.nextBytes(bytes.array());
    for (int block = 0; block < blocks; block++) {
      int at = block * type.blockBytes();
      short scale = HalfPrecision.toFloat16((1 + random.nextFloat()) / 64);
      short other = HalfPrecision.toFloat16(-random.nextFloat() / 8);
      switch (type) {
        case Q4_0, Q8_0 -> bytes.putShort(at, scale);
        case Q4_1, Q4_K -> bytes.putShort(at, scale).putShort(at + 2, other);
        case Q6_K -> bytes.putShort(at + 208, scale);
        case F16 -> bytes.putShort(at, other);
        case BF16 -> bytes.putShort(at, HalfPrecision.toBfloat16((float) random.nextGaussian()));
        default -> throw new IllegalArgumentException(type.name());
      }
    }
    return tensor(name, type.id(), data.size(), bytes.array(), dimensions);
  }

  /** A tensor of any type at any place. */
  GgufBuilder tensor(String name, int type, long offset, byte[] bytes, long... dimensions) {
    tensors.add(new Tensor(name, type, dimensions, offset, bytes.length));
    data.writeBytes(bytes);
    while (data.size() % 32 != 0) {
      data.write(0);
    }
    return this;
  }

  GgufBuilder without(String tensor) {
    tensors.removeIf(one -> one.name().equals(tensor));
    return this;
  }

  private void key(String key, int type) {
    keyCount++;
    text(keys, key);
    keys.writeBytes(bytes(4).putInt(type).array());
  }

  private static void text(ByteArrayOutputStream out, String value) {
    byte[] utf8 = value.getBytes(StandardCharsets.UTF_8);
    out.writeBytes(bytes(8).putLong(utf8.length).array());
    out.writeBytes(utf8);
  }

  static ByteBuffer bytes(int count) {
    return ByteBuffer.allocate(count).order(ByteOrder.LITTLE_ENDIAN);
  }

  byte[] build() {
    return build(tensors.size(), keyCount);
  }

  /** With counts that need not be true. */
  byte[] build(long tensorCount, long claimedKeys) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.writeBytes("GGUF".getBytes(StandardCharsets.US_ASCII));
    out.writeBytes(bytes(20).putInt(3).putLong(tensorCount).putLong(claimedKeys).array());
    out.writeBytes(keys.toByteArray());
    for (Tensor tensor : tensors) {
      text(out, tensor.name());
      out.writeBytes(bytes(4).putInt(tensor.dimensions().length).array());
      for (long dimension : tensor.dimensions()) {
        out.writeBytes(bytes(8).putLong(dimension).array());
      }
      out.writeBytes(bytes(12).putInt(tensor.type()).putLong(tensor.offset()).array());
    }
    while (out.size() % 32 != 0) {
      out.write(0);
    }
    out.writeBytes(data.toByteArray());
    return out.toByteArray();
  }

  Path write(Path file) throws IOException {
    return Files.write(file, build());
  }
}
