package io.peft4j.models.onnx;

import io.peft4j.MalformedFileException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads the messages of an ONNX file; the numbers below are field numbers of {@code onnx.proto}.
 *
 * <p>Model: 7 graph. Graph: 1 node, 5 initializer. Node: 1 input, 2 output, 3 name, 4 operator, 5
 * attribute. Attribute: 1 name, 2 float, 3 integer, 5 tensor. All else is skipped, so graphs inside
 * attributes (the branches of {@code If}) are not looked into and nesting has a fixed depth.
 */
final class OnnxParser {
  static final int MAXIMUM_TEXT = 1 << 16;

  /** What a file may make us hold at most, so that a file of nothing but tiny nodes stays cheap. */
  private static final int MAXIMUM_PARTS = 1 << 22;

  private final String file;
  private final Map<String, OnnxTensor> initializers = new LinkedHashMap<>();
  private final List<OnnxNode> nodes = new ArrayList<>();
  private int parts;

  OnnxParser(String file) {
    this.file = file;
  }

  Map<String, OnnxTensor> initializers() {
    return initializers;
  }

  List<OnnxNode> nodes() {
    return nodes;
  }

  void model(ByteBuffer bytes) {
    ProtobufReader model = ProtobufReader.of(bytes, file, "the model");
    boolean graphSeen = false;
    while (model.next()) {
      if (model.field() == 7) {
        if (graphSeen) {
          throw model.malformed("there is a second graph; allowed is one");
        }
        graphSeen = true;
        graph(model.message("the graph"));
      } else {
        model.skip();
      }
    }
    if (!graphSeen) {
      throw new MalformedFileException(file + ": not a valid ONNX file: it has no graph");
    }
  }

  private void graph(ProtobufReader graph) {
    while (graph.next()) {
      switch (graph.field()) {
        case 1 -> nodes.add(node(graph.message("node " + nodes.size())));
        case 5 -> {
          count(graph);
          OnnxTensor tensor =
              new TensorParser(file).tensor(graph.message("initializer " + initializers.size()));
          if (tensor.name().isEmpty()) {
            throw graph.malformed("an initializer has no name");
          }
          if (initializers.putIfAbsent(tensor.name(), tensor) != null) {
            throw graph.malformed("there are two initializers named '" + tensor.name() + "'");
          }
        }
        default -> graph.skip();
      }
    }
  }

  private OnnxNode node(ProtobufReader node) {
    count(node);
    List<String> inputs = new ArrayList<>();
    List<String> outputs = new ArrayList<>();
    Map<String, Number> numbers = new HashMap<>();
    Map<String, OnnxTensor> tensors = new HashMap<>();
    String name = "";
    String operator = "";
    while (node.next()) {
      switch (node.field()) {
        case 1 -> inputs.add(part(node));
        case 2 -> outputs.add(part(node));
        case 3 -> name = node.text(MAXIMUM_TEXT);
        case 4 -> operator = node.text(MAXIMUM_TEXT);
        case 5 -> attribute(node.message("an attribute of node '" + name + "'"), numbers, tensors);
        default -> node.skip();
      }
    }
    return new OnnxNode(operator, name, inputs, outputs, numbers, tensors);
  }

  private void attribute(
      ProtobufReader attribute, Map<String, Number> numbers, Map<String, OnnxTensor> tensors) {
    count(attribute);
    String name = "";
    Number number = null;
    OnnxTensor tensor = null;
    while (attribute.next()) {
      switch (attribute.field()) {
        case 1 -> name = attribute.text(MAXIMUM_TEXT);
        case 2 -> number = attribute.float32();
        case 3 -> number = attribute.varint();
        case 5 -> tensor = new TensorParser(file).tensor(attribute.message("a constant"));
        default -> attribute.skip();
      }
    }
    if (number != null) {
      numbers.put(name, number);
    }
    if (tensor != null) {
      tensors.put(name, tensor);
    }
  }

  private String part(ProtobufReader reader) {
    count(reader);
    return reader.text(MAXIMUM_TEXT);
  }

  private void count(ProtobufReader reader) {
    if (++parts > MAXIMUM_PARTS) {
      throw reader.malformed(
          "there are too many nodes, attributes, names and initializers; allowed are "
              + MAXIMUM_PARTS);
    }
  }
}
