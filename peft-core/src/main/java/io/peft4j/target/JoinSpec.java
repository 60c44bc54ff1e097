package io.peft4j.target;

/**
 * The place where a sub-layer's output meets the residual.
 *
 * @param path dotted path of the module in which that happens, for example {@code
 *     encoder.layer.0.output}
 * @param hidden size of the values that meet
 * @param kind which sub-layer ends there
 * @param normalised whether the model normalises the sum, as BERT does and Llama does not
 * @param layer index of the layer that the sub-layer belongs to, from 0
 */
public record JoinSpec(String path, long hidden, JoinKind kind, boolean normalised, int layer) {}
