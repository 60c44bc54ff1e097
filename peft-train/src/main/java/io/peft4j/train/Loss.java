package io.peft4j.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import io.peft4j.nn.NextTokens;
import org.jspecify.annotations.Nullable;

/** What training makes small: the mean of a cost over the items (rows, tokens) of a batch. */
@FunctionalInterface
public interface Loss {
  /**
   * Computes the loss with gradients on, so that it can be followed back.
   *
   * @param outputs what the model gave
   * @param labels what the batch says it should be
   * @return float32 scalar
   */
  NDArray compute(NDList outputs, NDList labels);

  /**
   * Over how many items the mean is taken. Batches whose gradients are accumulated weigh as much as
   * they have items, so that the step is the one of a single large batch.
   *
   * @param labels the labels of a batch
   * @return items; by default the rows of the first label array
   */
  default long items(NDList labels) {
    return labels.head().getShape().get(0);
  }

  /**
   * This as the loss of a causal language model, if it is that: models compute it, and its
   * gradients, without ever having all logits.
   *
   * @param labels the labels of a batch
   * @return labels and smoothing, or null if it is another
   */
  default @Nullable NextTokens nextTokens(NDList labels) {
    return null;
  }
}
