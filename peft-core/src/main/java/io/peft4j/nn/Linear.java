package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import io.peft4j.target.ModelLayout;
import org.jspecify.annotations.Nullable;

/** y = x·Wᵀ + b, for x float32 [batch, ..., in]. */
public final class Linear extends Layer {

  /**
   * A linear layer of a model.
   *
   * @param layout the model's layout
   * @param path the layer's path
   */
  public Linear(ModelLayout layout, String path) {
    super(layout, layout.layer(path).orElseThrow());
  }

  @Override
  NDArray compute(NDArray x, Weight weight, @Nullable NDArray bias) {
    return weight.linear(x, bias);
  }
}
