package io.peft4j.onnx.graph;

import io.peft4j.models.onnx.OnnxType;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** A graph that is being put together: inputs, outputs, constants and operations. */
final class OnnxGraph {
  /** The domain of operators that are ONNX Runtime's own. */
  static final String MICROSOFT = "com.microsoft";

  private static final int ATTRIBUTE_FLOAT = 1;
  private static final int ATTRIBUTE_INT = 2;
  private static final int ATTRIBUTE_INTS = 7;

  private final List<ProtobufMessage> nodes = new ArrayList<>();
  private final List<ProtobufMessage> inputs = new ArrayList<>();
  private final List<ProtobufMessage> outputs = new ArrayList<>();
  private final List<ProtobufMessage> values = new ArrayList<>();
  private final Map<String, Initializer> initializers = new LinkedHashMap<>();
  private final Set<String> names = new HashSet<>();
  private boolean microsoft;

  /** Adds an input; sizes are numbers, or names of sizes that are not known yet. */
  void input(String name, OnnxType type, List<?> sizes) {
    inputs.add(value(name, type, sizes));
  }

  void output(String name, OnnxType type, List<?> sizes) {
    outputs.add(value(name, type, sizes));
  }

  /** Says the shape of a value that shape inference cannot find. */
  void describe(String name, OnnxType type, List<?> sizes) {
    values.add(value(name, type, sizes));
  }

  private static ProtobufMessage value(String name, OnnxType type, List<?> sizes) {
    ProtobufMessage shape = new ProtobufMessage();
    for (Object size : sizes) {
      ProtobufMessage dimension = new ProtobufMessage();
      if (size instanceof Number number) {
        dimension.varint(1, number.longValue());
      } else {
        dimension.text(2, size.toString());
      }
      shape.message(1, dimension);
    }
    ProtobufMessage tensor = new ProtobufMessage().varint(1, type.code()).message(2, shape);
    return new ProtobufMessage().text(1, name).message(2, new ProtobufMessage().message(1, tensor));
  }

  /** Adds a constant; one of the same name stays. */
  String initializer(Initializer initializer) {
    initializers.putIfAbsent(initializer.name(), initializer);
    return initializer.name();
  }

  boolean hasInitializer(String name) {
    return initializers.containsKey(name);
  }

  /**
   * Adds an operation.
   *
   * @param module path of the module it belongs to; the operation is named by it, as PyTorch's
   *     exporter does: {@code /model/layers.0/self_attn/q_proj/MatMul}
   * @param operator the operator
   * @param domain its domain, empty for ONNX's own
   * @param attributes numbers: Float, Long or long[]
   * @param taken names of the values it takes
   * @return the name of the value it gives
   */
  String node(
      String module,
      String operator,
      String domain,
      Map<String, Object> attributes,
      List<String> taken) {
    String name = unique(slashed(module) + "/" + operator);
    String given = name + "_output";
    add(name, operator, domain, attributes, taken, given);
    return given;
  }

  /** Gives a value a second name, under which it is an output. */
  void rename(String value, String name) {
    add(unique("/" + name + "/Identity"), "Identity", "", Map.of(), List.of(value), name);
  }

  private void add(
      String name,
      String operator,
      String domain,
      Map<String, Object> attributes,
      List<String> taken,
      String given) {
    ProtobufMessage node = new ProtobufMessage();
    taken.forEach(input -> node.text(1, input));
    node.text(2, given).text(3, name).text(4, operator);
    attributes.forEach((key, value) -> node.message(5, attribute(key, value)));
    if (!domain.isEmpty()) {
      node.text(7, domain);
    }
    microsoft |= domain.equals(MICROSOFT);
    nodes.add(node);
  }

  private static ProtobufMessage attribute(String name, Object value) {
    ProtobufMessage attribute = new ProtobufMessage().text(1, name);
    if (value instanceof Float number) {
      return attribute.float32(2, number).varint(20, ATTRIBUTE_FLOAT);
    }
    if (value instanceof long[] numbers) {
      for (long number : numbers) {
        attribute.varint(8, number);
      }
      return attribute.varint(20, ATTRIBUTE_INTS);
    }
    return attribute.varint(3, ((Number) value).longValue()).varint(20, ATTRIBUTE_INT);
  }

  private String unique(String wanted) {
    String name = wanted;
    for (int i = 1; !names.add(name); i++) {
      name = wanted + "_" + i;
    }
    return name;
  }

  /** The numbers of repeated modules stay with the name before them. */
  private static String slashed(String path) {
    return path.isEmpty() ? "" : "/" + path.replaceAll("\\.(?!\\d)", "/");
  }

  List<ProtobufMessage> nodes() {
    return nodes;
  }

  List<ProtobufMessage> inputs() {
    return inputs;
  }

  List<ProtobufMessage> outputs() {
    return outputs;
  }

  List<ProtobufMessage> values() {
    return values;
  }

  List<Initializer> initializers() {
    return List.copyOf(initializers.values());
  }

  /** Whether there are operators of ONNX Runtime's own. */
  boolean usesMicrosoft() {
    return microsoft;
  }
}
