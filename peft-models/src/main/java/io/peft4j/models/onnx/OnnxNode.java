package io.peft4j.models.onnx;

import java.util.List;
import java.util.Map;

/**
 * One operation of an ONNX graph.
 *
 * @param operator the operation, such as {@code MatMul}
 * @param name the node's own name, often the path of the PyTorch module it came from; may be empty
 * @param inputs the values it takes, by name: initializers, graph inputs, outputs of other nodes;
 *     an optional input left out is an empty name
 * @param outputs the values it gives, by name
 * @param numbers the attributes that are one float ({@code Float}) or one integer ({@code Long})
 * @param tensors the attributes that are tensors, such as the {@code value} of a {@code Constant}
 */
public record OnnxNode(
    String operator,
    String name,
    List<String> inputs,
    List<String> outputs,
    Map<String, Number> numbers,
    Map<String, OnnxTensor> tensors) {

  /** Copies the collections. */
  public OnnxNode {
    inputs = List.copyOf(inputs);
    outputs = List.copyOf(outputs);
    numbers = Map.copyOf(numbers);
    tensors = Map.copyOf(tensors);
  }
}
