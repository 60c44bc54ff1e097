package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import java.util.function.UnaryOperator;

/**
 * One join of one pass, for the rows of one segment.
 *
 * @param output the sub-layer's output h, or what the adapters before made of it, float32 [batch,
 *     ..., hidden]
 * @param residual the residual x, of the same shape
 * @param norm the model's own norm there; gives its argument back where the model has none
 * @param strength by how much the adapter's own term is multiplied
 * @param dropout whether dropout acts
 */
public record JoinCall(
    NDArray output,
    NDArray residual,
    UnaryOperator<NDArray> norm,
    float strength,
    boolean dropout) {

  JoinCall with(NDArray replaced) {
    return new JoinCall(replaced, residual, norm, strength, dropout);
  }

  JoinCall with(float factor) {
    return new JoinCall(output, residual, norm, factor, dropout);
  }
}
