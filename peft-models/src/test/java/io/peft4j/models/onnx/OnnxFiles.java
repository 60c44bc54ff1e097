package io.peft4j.models.onnx;

import java.nio.ByteBuffer;

/** The messages of ONNX files, for tests. */
final class OnnxFiles {
  static final int FLOAT = 1;
  static final int INT8 = 3;
  static final int INT64 = 7;

  private OnnxFiles() {}

  static ProtobufWriter tensor(String name, int type, long... shape) {
    ProtobufWriter tensor = new ProtobufWriter();
    for (long size : shape) {
      tensor.integer(1, size);
    }
    return tensor.integer(2, type).text(8, name);
  }

  static ProtobufWriter floats(String name, float[] values, long... shape) {
    return tensor(name, FLOAT, shape).bytes(9, ProtobufWriter.floats(values));
  }

  static ProtobufWriter node(String operator, String name, String output, String... inputs) {
    ProtobufWriter node = new ProtobufWriter();
    for (String input : inputs) {
      node.text(1, input);
    }
    return node.text(2, output).text(3, name).text(4, operator);
  }

  static ProtobufWriter constant(String output, ProtobufWriter tensor) {
    return node("Constant", "", output)
        .message(5, new ProtobufWriter().text(1, "value").message(5, tensor).integer(20, 4));
  }

  static ProtobufWriter graph(ProtobufWriter... initializers) {
    ProtobufWriter graph = new ProtobufWriter();
    for (ProtobufWriter initializer : initializers) {
      graph.message(5, initializer);
    }
    return graph;
  }

  static byte[] model(ProtobufWriter graph) {
    return new ProtobufWriter()
        .integer(1, 8)
        .text(2, "a test")
        .message(7, graph)
        .message(8, new ProtobufWriter().integer(2, 14))
        .toBytes();
  }

  static OnnxWeights read(byte[] model) {
    return OnnxWeights.of(ByteBuffer.wrap(model), "test.onnx");
  }

  static OnnxWeights read(ProtobufWriter graph) {
    return read(model(graph));
  }
}
