package io.peft4j.models.onnx;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/**
 * What only the operations of an exported BERT tell: the number of heads, the epsilon of the layer
 * norms, the activation. Each is found from the weight it goes with, by following values from node
 * to node, so that it does not matter what the nodes are called.
 */
final class BertGraph {
  /** Stands for a size that is only known when the graph runs. */
  private static final long UNKNOWN = -1;

  private final OnnxWeights weights;
  private final Map<String, OnnxNode> producers = new HashMap<>();
  private final Map<String, List<OnnxNode>> consumers = new HashMap<>();

  BertGraph(OnnxWeights weights) {
    this.weights = weights;
    for (OnnxNode node : weights.nodes()) {
      node.outputs().forEach(output -> producers.put(output, node));
      for (String input : node.inputs()) {
        consumers.computeIfAbsent(input, key -> new ArrayList<>()).add(node);
      }
    }
  }

  /**
   * The number of attention heads: the third of the sizes [batch, tokens, heads, head size] that
   * the projection with this bias is reshaped to, or the hidden size over the fourth.
   */
  OptionalInt heads(String projectionBias, long hidden) {
    for (OnnxNode add : consumers(projectionBias, "Add")) {
      for (OnnxNode reshape : consumersOf(add, "Reshape")) {
        List<Long> sizes = reshape.inputs().size() < 2 ? List.of() : sizes(reshape.inputs().get(1));
        if (sizes.size() != 4) {
          continue;
        }
        long heads = sizes.get(2);
        long headSize = sizes.get(3);
        if (heads <= 0 && headSize > 0 && hidden % headSize == 0) {
          heads = hidden / headSize;
        }
        boolean sound = heads > 0 && heads <= hidden && hidden % heads == 0;
        if (sound && (headSize <= 0 || hidden / heads == headSize)) {
          return OptionalInt.of((int) heads);
        }
      }
    }
    return OptionalInt.empty();
  }

  /**
   * The epsilon of the layer norm with this weight, fused or spelt out as x / sqrt(v + eps) * w.
   */
  OptionalDouble normEpsilon(String normWeight) {
    for (OnnxNode fused : consumers(normWeight, "LayerNormalization")) {
      Number epsilon = fused.numbers().get("epsilon");
      return OptionalDouble.of(epsilon == null ? 1e-5 : decimal(epsilon.floatValue()));
    }
    for (OnnxNode multiply : consumers(normWeight, "Mul")) {
      Optional<OnnxNode> add =
          producer(multiply, "Div")
              .flatMap(n -> producer(n, "Sqrt"))
              .flatMap(n -> producer(n, "Add"));
      if (add.isEmpty()) {
        continue;
      }
      for (String input : add.get().inputs()) {
        OnnxTensor value = constant(input);
        if (value != null && value.type() == OnnxType.FLOAT && value.elements() == 1) {
          return OptionalDouble.of(decimal(value.data().getFloat(0)));
        }
      }
    }
    return OptionalDouble.empty();
  }

  /** Whether what comes after this bias is the exact GELU: an Erf of the value, scaled. */
  boolean exactGelu(String intermediateBias) {
    for (OnnxNode add : consumers(intermediateBias, "Add")) {
      for (String scaling : List.of("Div", "Mul")) {
        for (OnnxNode scaled : consumersOf(add, scaling)) {
          if (!consumersOf(scaled, "Erf").isEmpty()) {
            return true;
          }
        }
      }
    }
    return false;
  }

  /** The double that is written like the float: 1e-12, not 9.99999996e-13. */
  private static double decimal(float value) {
    return Double.parseDouble(Float.toString(value));
  }

  private List<OnnxNode> consumers(String value, String operator) {
    return consumers.getOrDefault(value, List.of()).stream()
        .filter(node -> node.operator().equals(operator))
        .toList();
  }

  private List<OnnxNode> consumersOf(OnnxNode node, String operator) {
    return node.outputs().stream().flatMap(o -> consumers(o, operator).stream()).toList();
  }

  private Optional<OnnxNode> producer(OnnxNode node, String operator) {
    return node.inputs().stream()
        .map(producers::get)
        .filter(found -> found != null && found.operator().equals(operator))
        .findFirst();
  }

  private List<Long> sizes(String value) {
    OnnxNode producer = producers.get(value);
    if (producer == null || !producer.operator().equals("Concat")) {
      return integers(value);
    }
    List<Long> sizes = new ArrayList<>();
    for (String input : producer.inputs()) {
      List<Long> known = integers(input);
      sizes.addAll(known.isEmpty() ? List.of(UNKNOWN) : known);
    }
    return sizes;
  }

  private List<Long> integers(String value) {
    OnnxTensor tensor = constant(value);
    if (tensor == null || tensor.type() != OnnxType.INT64 || tensor.elements() > 4) {
      return List.of();
    }
    ByteBuffer data = tensor.data();
    List<Long> integers = new ArrayList<>();
    while (data.hasRemaining()) {
      integers.add(data.getLong());
    }
    return integers;
  }

  private @Nullable OnnxTensor constant(String value) {
    OnnxNode producer = producers.get(value);
    return producer != null && producer.operator().equals("Constant")
        ? producer.tensors().get("value")
        : weights.initializers().get(value);
  }
}
