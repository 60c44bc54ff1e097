package io.peft4j.nn;

import ai.djl.ndarray.NDArray;

/**
 * What an adapter does where a sub-layer meets the residual: bottleneck adapters act here. It has
 * no weight to fold into, so it cannot be merged. A pure function of the call and its own tensors.
 */
public interface JoinAdapter {

  /**
   * Joins in the place of the model, or around what acted before.
   *
   * @param call the sub-layer's output, the residual and the model's own join
   * @return a new array of the same shape as the output
   */
  NDArray join(JoinCall call);

  /**
   * A few words for reports.
   *
   * @return for example {@code seq_bn m=48 relu}
   */
  String describe();
}
