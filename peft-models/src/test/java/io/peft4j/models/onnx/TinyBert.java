package io.peft4j.models.onnx;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.BiFunction;

/**
 * A BERT as PyTorch exports it, two layers of hidden size four. The value at [i, j] of a weight
 * [out, in] is 1000 k + 10 i + j for the k-th parameter.
 */
final class TinyBert {
  static final int HIDDEN = 4;
  static final int INNER = 6;
  static final int HEADS = 2;

  private final Map<String, ProtobufWriter> initializers = new LinkedHashMap<>();
  private final ProtobufWriter nodes = new ProtobufWriter();
  private final String prefix;
  private int parameters;

  TinyBert(String prefix, boolean pooler) {
    this.prefix = prefix;
    direct("embeddings.word_embeddings.weight", 7, HIDDEN);
    direct("embeddings.position_embeddings.weight", 5, HIDDEN);
    direct("embeddings.token_type_embeddings.weight", 2, HIDDEN);
    norm("embeddings.LayerNorm");
    for (int i = 0; i < 2; i++) {
      String layer = "encoder.layer." + i + ".";
      linear(layer + "attention.self.query", HIDDEN, HIDDEN);
      linear(layer + "attention.self.key", HIDDEN, HIDDEN);
      linear(layer + "attention.self.value", HIDDEN, HIDDEN);
      linear(layer + "attention.output.dense", HIDDEN, HIDDEN);
      norm(layer + "attention.output.LayerNorm");
      linear(layer + "intermediate.dense", INNER, HIDDEN);
      linear(layer + "output.dense", HIDDEN, INNER);
      norm(layer + "output.LayerNorm");
    }
    if (pooler) {
      direct("pooler.dense.weight", HIDDEN, HIDDEN);
      direct("pooler.dense.bias", HIDDEN);
    }
    initializers.put(
        prefix + "embeddings.position_ids",
        OnnxFiles.tensor(prefix + "embeddings.position_ids", OnnxFiles.INT64, 1, 1)
            .bytes(9, ProtobufWriter.longs(0)));
    heads("tokens", "heads");
    node("Div", "inner", prefix + "encoder.layer.0.intermediate.dense.sum", "root2");
    node("Erf", "erf", "inner");
    node("Add", "added", "variance", "epsilon");
    node("Sqrt", "deviation", "added");
    node("Div", "normal", "centred", "deviation");
    node("Mul", "scaled", "normal", prefix + "embeddings.LayerNorm.weight");
    constant("epsilon", OnnxFiles.floats("", new float[] {1e-12f}));
    constant("heads", longs(HEADS));
    constant("size", longs(HIDDEN / HEADS));
  }

  static ProtobufWriter longs(long... values) {
    return OnnxFiles.tensor("", OnnxFiles.INT64, values.length)
        .bytes(9, ProtobufWriter.longs(values));
  }

  private void heads(String tokens, String heads) {
    node("Concat", "sizes", "batch", tokens, heads, "size");
    node("Reshape", "split", prefix + "encoder.layer.0.attention.self.query.sum", "sizes");
  }

  private void norm(String path) {
    direct(path + ".weight", HIDDEN);
    direct(path + ".bias", HIDDEN);
  }

  private void linear(String path, int out, int in) {
    int number = ++parameters;
    String anonymous = "onnx::MatMul_" + (880 + number);
    float[] values = new float[in * out];
    for (int i = 0; i < out; i++) {
      for (int j = 0; j < in; j++) {
        values[j * out + i] = value(number, i, j);
      }
    }
    initializers.put(anonymous, OnnxFiles.floats(anonymous, values, in, out));
    String scope = "/" + (prefix + path).replace(".", "/").replace("layer/", "layer.");
    nodes.message(
        1, OnnxFiles.node("MatMul", scope + "/MatMul", prefix + path + ".product", "x", anonymous));
    direct(path + ".bias", out);
    node("Add", prefix + path + ".sum", prefix + path + ".bias", prefix + path + ".product");
  }

  private void direct(String name, int... shape) {
    int number = ++parameters;
    int rows = shape[0];
    int columns = shape.length > 1 ? shape[1] : 1;
    float[] values = new float[rows * columns];
    for (int i = 0; i < values.length; i++) {
      values[i] = value(number, i / columns, i % columns);
    }
    long[] sizes = new long[shape.length];
    for (int i = 0; i < shape.length; i++) {
      sizes[i] = shape[i];
    }
    initializers.put(prefix + name, OnnxFiles.floats(prefix + name, values, sizes));
  }

  static float value(int number, int row, int column) {
    return 1000f * number + 10f * row + column;
  }

  TinyBert node(String operator, String output, String... inputs) {
    nodes.message(1, OnnxFiles.node(operator, "", output, inputs));
    return this;
  }

  TinyBert constant(String output, ProtobufWriter tensor) {
    nodes.message(1, OnnxFiles.constant(output, tensor));
    return this;
  }

  /** Puts another tensor in a tensor's place; a null takes it away. */
  TinyBert change(String name, BiFunction<String, ProtobufWriter, ProtobufWriter> change) {
    initializers.compute(name, change);
    return this;
  }

  byte[] toBytes() {
    byte[] operations = nodes.toBytes();
    ProtobufWriter tensors = new ProtobufWriter();
    initializers.values().forEach(tensor -> tensors.message(5, tensor));
    byte[] graph = Arrays.copyOf(operations, operations.length + tensors.toBytes().length);
    System.arraycopy(
        tensors.toBytes(), 0, graph, operations.length, graph.length - operations.length);
    return new ProtobufWriter().integer(1, 8).bytes(7, graph).toBytes();
  }

  OnnxWeights weights() {
    return OnnxFiles.read(toBytes());
  }
}
