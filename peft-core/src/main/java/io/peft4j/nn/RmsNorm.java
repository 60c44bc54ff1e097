package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Ops;
import org.jspecify.annotations.Nullable;

/** Root-mean-square normalisation over the last dimension, with weight and without bias. */
public final class RmsNorm extends Layer {
  private final double epsilon;
  private final boolean shifted;

  /**
   * A norm of a model.
   *
   * @param layout the model's layout
   * @param path the layer's path
   * @param epsilon added to the mean square
   * @param shifted whether the factor is 1 + weight instead of the weight, as Gemma has it
   */
  public RmsNorm(ModelLayout layout, String path, double epsilon, boolean shifted) {
    super(layout, layout.layer(path).orElseThrow());
    this.epsilon = epsilon;
    this.shifted = shifted;
  }

  @Override
  NDArray compute(NDArray x, Weight weight, @Nullable NDArray bias) {
    return Ops.rmsNorm(x, weight.dense(), epsilon, shifted);
  }

  /**
   * The weight, if all rows have the same, it is held in float32, and nothing else acts here.
   *
   * @param pass weights and adapters
   * @return float32 [size], not the caller's; null if there is more to it
   */
  public @Nullable NDArray plainWeight(Pass pass) {
    return plain(pass);
  }
}
