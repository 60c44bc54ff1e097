package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import org.jspecify.annotations.Nullable;

/**
 * One layer at work on the rows of a batch that share their adapters.
 *
 * @param input what the layer was given: float32 [rows, ..., in], or int64 indexes for embeddings
 * @param baseOutput what the base layer alone makes of it, bias included
 * @param weight the base layer's weight
 * @param bias the base layer's bias, or null if it has none
 * @param strength factor on the adapter's effect
 * @param dropout whether dropout acts
 */
public record LayerCall(
    NDArray input,
    NDArray baseOutput,
    Weight weight,
    @Nullable NDArray bias,
    float strength,
    boolean dropout) {}
