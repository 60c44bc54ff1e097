package io.peft4j.nn;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.nn.Parameter;
import ai.djl.training.ParameterStore;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Hands a stock network its parameters with the adapters of one segment of one pass in them. */
final class EffectiveParameterStore extends ParameterStore {
  private final ModelLayout layout;
  private final WeightSnapshot weights;
  private final Segment segment;
  private final Map<Parameter, Integer> indexes;
  private final Map<Integer, NDArray> values = new HashMap<>();

  EffectiveParameterStore(
      NDManager manager,
      ModelLayout layout,
      WeightSnapshot weights,
      Segment segment,
      Map<Parameter, Integer> indexes) {
    super(manager, false);
    this.layout = layout;
    this.weights = weights;
    this.segment = segment;
    this.indexes = indexes;
  }

  @Override
  public NDArray getValue(Parameter parameter, Device device, boolean training) {
    Integer index = indexes.get(parameter);
    if (index == null) {
      // DJL asks for absent biases too, as null.
      return super.getValue(parameter, device, training);
    }
    return values.computeIfAbsent(index, this::value);
  }

  private NDArray value(int index) {
    String name = layout.parameterNames().get(index);
    int dot = name.lastIndexOf('.');
    LayerSpec layer = dot < 0 ? null : layout.layer(name.substring(0, dot)).orElse(null);
    NDArray effective = effective(name, index, layer);
    if (effective != null) {
      return effective;
    }
    return EffectiveWeights.frozen(weights.weight(index).dense());
  }

  private @Nullable NDArray effective(String name, int index, @Nullable LayerSpec layer) {
    if (layer == null) {
      return segment.override(index);
    }
    return name.equals(layer.weightName())
        ? EffectiveWeights.weight(layout, weights, segment, layer)
        : EffectiveWeights.bias(layout, weights, segment, layer);
  }
}
