package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import io.peft4j.target.ModelLayout;
import org.jspecify.annotations.Nullable;

/**
 * y = x·W + b with W stored as [in, out], for x float32 [batch, ..., in]: what GPT-2's checkpoints
 * call Conv1D.
 */
public final class LinearTransposed extends Layer {

  /**
   * A linear layer of a model.
   *
   * @param layout the model's layout
   * @param path the layer's path
   */
  public LinearTransposed(ModelLayout layout, String path) {
    super(layout, layout.layer(path).orElseThrow());
  }

  @Override
  NDArray compute(NDArray x, Weight weight, @Nullable NDArray bias) {
    return weight.linearTransposed(x, bias);
  }
}
