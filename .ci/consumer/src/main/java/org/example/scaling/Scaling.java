package org.example.scaling;

import ai.djl.ndarray.NDArray;
import io.peft4j.nn.LayerAdapter;
import io.peft4j.nn.LayerCall;

/**
 * The method at one layer: its output, or its weight's rows and its bias, times a vector.
 *
 * @param vector float32 [out]
 */
record Scaling(NDArray vector) implements LayerAdapter {

  @Override
  public NDArray apply(LayerCall call, NDArray output) {
    return output.mul(factor(call.strength()));
  }

  @Override
  public NDArray mergedWeight(NDArray weight, NDArray original, float strength) {
    return weight.mul(factor(strength).expandDims(1));
  }

  @Override
  public NDArray mergedBias(NDArray bias, float strength) {
    return bias == null ? null : bias.mul(factor(strength));
  }

  private NDArray factor(float strength) {
    return strength == 1 ? vector : vector.sub(1).mul(strength).add(1);
  }

  @Override
  public String describe() {
    return "scaling";
  }
}
