package io.peft4j;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.DataType;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.nn.NextTokens;
import org.jspecify.annotations.Nullable;

/** What one training step makes small: a function of a network's outputs. */
@FunctionalInterface
public interface Objective {

  /**
   * Computes the loss, recorded for a backward pass.
   *
   * @param outputs what the network gave
   * @return float32 scalar
   */
  NDArray compute(NDList outputs);

  /**
   * This as the loss of a causal language model, if it is that: networks compute it without ever
   * having all logits.
   *
   * @return labels and smoothing, or null if it is another
   */
  default @Nullable NextTokens nextTokens() {
    return null;
  }

  /**
   * Follows a loss back and adds gradients to those that parameters hold.
   *
   * @param loss as {@link #compute} gives it
   * @param weight multiplies the gradients
   * @return the value of the loss
   * @throws InvalidConfigException if the loss is no float32 scalar
   */
  static double backward(NDArray loss, double weight) {
    if (loss.getShape().size() != 1 || loss.getDataType() != DataType.FLOAT32) {
      throw new InvalidConfigException(
          "a loss must be a float32 scalar, was " + loss.getDataType() + " " + loss.getShape());
    }
    NDArray seed = loss.getManager().full(loss.getShape(), (float) weight, DataType.FLOAT32);
    JniUtils.backward((PtNDArray) loss, (PtNDArray) seed, false, false);
    return loss.toFloatArray()[0];
  }
}
