package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import org.jspecify.annotations.Nullable;

/**
 * The parameters that, without any adapter, compute what the base computes with them. Merging keeps
 * them; stock networks are computed with them.
 */
public final class EffectiveWeights {
  private EffectiveWeights() {}

  /**
   * The effective weight of a layer.
   *
   * @param layout the base's layout
   * @param weights the base's weights
   * @param segment what acts
   * @param layer the layer
   * @return a new array, an adapter's own copy, or null if the base's weight is unchanged
   */
  public static @Nullable NDArray weight(
      ModelLayout layout, WeightSnapshot weights, Segment segment, LayerSpec layer) {
    int index = layout.parameterIndex(layer.weightName());
    NDArray override = segment.override(index);
    if (!segment.acts(layer.slot())) {
      return override;
    }
    NDArray original = override == null ? frozen(weights.weight(index).dense()) : override;
    NDArray result = original;
    for (int i = 0; i < segment.adapters().size(); i++) {
      LayerAdapter adapter = segment.adapters().get(i).layer(layer.slot());
      if (adapter != null) {
        result = adapter.mergedWeight(result, original, segment.strengths()[i]);
      }
    }
    return result == original ? override : result;
  }

  /**
   * The effective bias of a layer.
   *
   * @param layout the base's layout
   * @param weights the base's weights
   * @param segment what acts
   * @param layer the layer
   * @return a new array, an adapter's own copy, or null if the base's bias, or its absence, is
   *     unchanged
   */
  public static @Nullable NDArray bias(
      ModelLayout layout, WeightSnapshot weights, Segment segment, LayerSpec layer) {
    int index = layer.bias() ? layout.parameterIndex(layer.biasName()) : -1;
    NDArray override = segment.override(index);
    NDArray original =
        override != null || index < 0 ? override : frozen(weights.weight(index).dense());
    NDArray result = original;
    for (int i = 0; i < segment.adapters().size(); i++) {
      LayerAdapter adapter = segment.adapters().get(i).layer(layer.slot());
      if (adapter != null) {
        result = adapter.mergedBias(result, segment.strengths()[i]);
      }
    }
    return result == original ? override : result;
  }

  /** The frozen base takes no part in the backward pass, whatever DJL thinks of its parameters. */
  static NDArray frozen(NDArray array) {
    return array.hasGradient() ? array.stopGradient() : array;
  }
}
