package io.peft4j.lora;

import ai.djl.ndarray.NDArray;

/**
 * The two matrices of a low-rank product B·A.
 *
 * @param a float32 [rank, in...]
 * @param b float32 [out, rank...]
 */
public record Factors(NDArray a, NDArray b) {}
