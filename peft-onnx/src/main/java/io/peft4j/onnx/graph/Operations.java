package io.peft4j.onnx.graph;

import io.peft4j.models.onnx.OnnxType;
import io.peft4j.torch.Activation;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.Collectors;

/** Short words for the operations that graphs are made of. Values are known by their names. */
final class Operations {
  private final OnnxGraph graph;
  private String module = "";

  Operations(OnnxGraph graph) {
    this.graph = graph;
  }

  OnnxGraph graph() {
    return graph;
  }

  void module(String path) {
    module = path;
  }

  /** Makes operations of some module, then goes back to the one before. */
  <T> T in(String path, Supplier<T> body) {
    String before = module;
    module = path;
    try {
      return body.get();
    } finally {
      module = before;
    }
  }

  String node(String operator, String... taken) {
    return node(operator, "", Map.of(), List.of(taken));
  }

  String node(String operator, String domain, Map<String, Object> attributes, List<String> taken) {
    return graph.node(module, operator, domain, attributes, taken);
  }

  // --- constants ------------------------------------------------------------------------------

  String number(double value) {
    return graph.initializer(Initializer.of("number_" + (float) value, (float) value));
  }

  String integer(long value) {
    return graph.initializer(Initializer.of("integer_" + value, new long[] {value}, true));
  }

  String integers(long... values) {
    String name =
        Arrays.stream(values)
            .mapToObj(Long::toString)
            .collect(Collectors.joining("_", "integers_", ""));
    return graph.initializer(Initializer.of(name, values, false));
  }

  // --- shapes ---------------------------------------------------------------------------------

  String cast(String x, OnnxType type) {
    return node("Cast", "", Map.of("to", (long) type.code()), List.of(x));
  }

  String concat(long axis, String... parts) {
    return node("Concat", "", Map.of("axis", axis), List.of(parts));
  }

  String transpose(String x, long... order) {
    return node("Transpose", "", Map.of("perm", order), List.of(x));
  }

  String slice(String x, long axis, long begin, long end) {
    return node("Slice", x, integers(begin), integers(end), integers(axis));
  }

  /** One index of a dimension, which goes. */
  String gather(String x, long axis, long index) {
    return node("Gather", "", Map.of("axis", axis), List.of(x, integer(index)));
  }

  String sum(String x, long axis) {
    return node("ReduceSum", "", Map.of("keepdims", 0L), List.of(x, integers(axis)));
  }

  /** [batch, length, heads · size] as [batch, heads, length, size]. */
  String heads(String x, long heads) {
    return transpose(node("Reshape", x, integers(0, 0, heads, -1)), 0, 2, 1, 3);
  }

  // --- functions ------------------------------------------------------------------------------

  /** In the forms that ONNX Runtime knows to be one operation. */
  String activation(Activation function, String x) {
    return switch (function) {
      case SILU -> node("Mul", x, node("Sigmoid", x));
      case RELU -> node("Relu", x);
      case GELU -> {
        String error = node("Erf", node("Div", x, number(Math.sqrt(2))));
        yield node("Mul", node("Mul", x, node("Add", error, number(1))), number(0.5));
      }
      case GELU_TANH -> {
        String cubed = node("Mul", node("Pow", x, number(3)), number(0.044715));
        String inner = node("Mul", node("Add", x, cubed), number(Math.sqrt(2 / Math.PI)));
        String tanh = node("Add", node("Tanh", inner), number(1));
        yield node("Mul", node("Mul", x, number(0.5)), tanh);
      }
    };
  }
}
