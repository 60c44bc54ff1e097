package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.target.ModelLayout;
import org.jspecify.annotations.Nullable;

/** Layer normalisation over the last dimension, with weight and bias. */
public final class LayerNorm extends Layer {
  private final double epsilon;

  /**
   * A norm of a model.
   *
   * @param layout the model's layout
   * @param path the layer's path
   * @param epsilon added to the variance
   */
  public LayerNorm(ModelLayout layout, String path, double epsilon) {
    super(layout, layout.layer(path).orElseThrow());
    this.epsilon = epsilon;
  }

  @Override
  NDArray compute(NDArray x, Weight weight, @Nullable NDArray bias) {
    return JniUtils.layerNorm(
        (PtNDArray) x,
        new Shape(weight.shape().getShape()),
        (PtNDArray) weight.dense(),
        (PtNDArray) bias,
        epsilon);
  }
}
