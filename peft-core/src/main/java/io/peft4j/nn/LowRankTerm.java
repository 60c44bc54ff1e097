package io.peft4j.nn;

import ai.djl.ndarray.NDArray;

/**
 * A low-rank product s·B·A.
 *
 * @param a float32 [rank, in]
 * @param b float32 [out, rank]
 * @param scaling s, a float32 scalar
 */
public record LowRankTerm(NDArray a, NDArray b, NDArray scaling) {}
