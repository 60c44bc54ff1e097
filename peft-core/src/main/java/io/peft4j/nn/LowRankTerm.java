package io.peft4j.nn;

import ai.djl.ndarray.NDArray;

/**
 * A low-rank product s·B·A.
 *
 * @param a float32 [rank, in]
 * @param b float32 [out, rank]
 * @param scaling s, a float32 scalar
 * @param dropout probability with which values of the input are dropped in training
 */
public record LowRankTerm(NDArray a, NDArray b, NDArray scaling, double dropout) {

  /**
   * A product without dropout.
   *
   * @param a float32 [rank, in]
   * @param b float32 [out, rank]
   * @param scaling s, a float32 scalar
   */
  public LowRankTerm(NDArray a, NDArray b, NDArray scaling) {
    this(a, b, scaling, 0);
  }
}
