package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import org.jspecify.annotations.Nullable;

/**
 * What one adapter does at one layer. It acts in one of two ways that must agree: on activations,
 * or as a weight put in place of the layer's own (for merging, and for stock networks, whose layers
 * can only be given other weights). Safe for use by several threads.
 */
public interface LayerAdapter {

  /**
   * Acts on the layer's output.
   *
   * @param call the layer's input, base output and circumstances
   * @param output what the layer and the adapters before this one gave; not to be written to
   * @return the new output, of the same shape
   */
  NDArray apply(LayerCall call, NDArray output);

  /**
   * The weight that, in place of the layer's own, has the same effect without dropout. Gradients
   * flow from it to the adapter's parameters.
   *
   * @param weight float32, the layer's own weight with the effects of the adapters before this one
   * @param original float32, the layer's own weight alone
   * @param strength factor on this adapter's effect
   * @return the weight as given, or a new array of the same shape
   */
  NDArray mergedWeight(NDArray weight, NDArray original, float strength);

  /**
   * The bias that goes with {@link #mergedWeight}.
   *
   * @param bias float32 [out], or null if the layer has none
   * @param strength factor on this adapter's effect
   * @return the bias as given, or a new one
   */
  default @Nullable NDArray mergedBias(@Nullable NDArray bias, float strength) {
    return bias;
  }

  /**
   * The low-rank product that says the whole effect without dropout, y + strength·s·B·A·x, if there
   * is one. Products of several layers and rows can be computed together.
   *
   * @return the product, its arrays not the caller's; null if the effect is of another form
   */
  default @Nullable LowRankTerm lowRank() {
    return null;
  }

  /**
   * Why this cannot be expressed by weights, if so.
   *
   * @return the reason, or null if merging is exact
   */
  default @Nullable String notMergeable() {
    return null;
  }

  /**
   * Why this and what another adapter does at the same layer cannot act together, if so.
   *
   * @param other what the other adapter does
   * @return the reason, fit to stand after a colon, or null if they can
   */
  default @Nullable String conflict(LayerAdapter other) {
    return null;
  }

  /**
   * A few words for reports.
   *
   * @return for example {@code r=8 alpha=16 scaling=2.0}
   */
  String describe();
}
