package io.peft4j.onnx.graph;

import io.peft4j.models.onnx.OnnxType;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.WritableByteChannel;

/**
 * A constant tensor of a graph. Its values are made when they are written.
 *
 * @param name its name
 * @param type type of the elements
 * @param shape sizes, outermost first
 * @param content writes the values, little-endian and row-major
 */
record Initializer(String name, OnnxType type, long[] shape, Content content) {

  /** Writes values. */
  @FunctionalInterface
  interface Content {
    void writeTo(WritableByteChannel channel) throws IOException;
  }

  static Initializer of(String name, float value) {
    return of(name, OnnxType.FLOAT, new long[0], buffer(Float.BYTES).putFloat(value));
  }

  static Initializer of(String name, long[] values, boolean scalar) {
    ByteBuffer bytes = buffer(Long.BYTES * values.length);
    bytes.asLongBuffer().put(values);
    bytes.position(bytes.limit());
    return of(name, OnnxType.INT64, scalar ? new long[0] : new long[] {values.length}, bytes);
  }

  static Initializer of(String name, float[] values, long... shape) {
    ByteBuffer bytes = buffer(Float.BYTES * values.length);
    bytes.asFloatBuffer().put(values);
    bytes.position(bytes.limit());
    return of(name, OnnxType.FLOAT, shape, bytes);
  }

  private static Initializer of(String name, OnnxType type, long[] shape, ByteBuffer filled) {
    ByteBuffer bytes = filled.flip();
    return new Initializer(name, type, shape, channel -> write(channel, bytes.duplicate()));
  }

  static void write(WritableByteChannel channel, ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      channel.write(bytes);
    }
  }

  static ByteBuffer buffer(int size) {
    return ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
  }

  long bytes() {
    long elements = 1;
    for (long size : shape) {
      elements *= size;
    }
    return (elements * type.bits() + 7) / 8;
  }

  private ProtobufMessage header() {
    ProtobufMessage tensor = new ProtobufMessage();
    for (long size : shape) {
      tensor.varint(1, size);
    }
    return tensor.varint(2, type.code()).text(8, name);
  }

  /** A TensorProto without the values, which follow right after it. */
  ProtobufMessage inline() {
    return header().head(9, bytes());
  }

  /** A TensorProto whose values lie in another file. */
  ProtobufMessage external(String file, long offset) {
    return header()
        .message(13, entry("location", file))
        .message(13, entry("offset", Long.toString(offset)))
        .message(13, entry("length", Long.toString(bytes())))
        .varint(14, 1);
  }

  /** A StringStringEntryProto. */
  static ProtobufMessage entry(String key, String value) {
    return new ProtobufMessage().text(1, key).text(2, value);
  }
}
