package io.peft4j.lora;

import ai.djl.ndarray.NDArray;

/**
 * What one adapter brings to a combination at one layer.
 *
 * @param a float32 [rank, in]; a convolution's kernel is part of {@code in}
 * @param b float32 [out, rank]
 * @param scaling s
 * @param weight w
 */
record WeightedFactors(NDArray a, NDArray b, double scaling, double weight) {

  long rank() {
    return a.getShape().get(0);
  }

  /** w·s. */
  double strength() {
    return weight * scaling;
  }

  /** s·B·A, [out, in]. */
  NDArray delta() {
    return b.matMul(a).mul((float) scaling);
  }
}
