package io.peft4j.nn;

import ai.djl.ndarray.NDArray;

/**
 * What an adapter does where a sub-layer meets the residual: bottleneck adapters act here. It has
 * no weight to fold into, so it cannot be merged. Several act one after the other, each on what the
 * one before gave; the last one finishes. Pure functions of the call and the adapter's own tensors.
 */
public interface JoinAdapter {

  /**
   * Acts on the sub-layer's output.
   *
   * @param call the output so far, the residual and the model's own norm
   * @return a new array of the same shape, in the place of the output
   */
  NDArray act(JoinCall call);

  /**
   * Ends the join, after every adapter has acted: the residual is added and the sum normalised, as
   * the model does it, if not said otherwise.
   *
   * @param call the call, its output what the adapters gave
   * @return a new array of the same shape
   */
  default NDArray finish(JoinCall call) {
    return call.norm().apply(call.output().add(call.residual()));
  }

  /**
   * A few words for reports.
   *
   * @return for example {@code m=48 relu}
   */
  String describe();
}
