package io.peft4j.target;

/** What a layer computes, as far as a fine-tuning method needs to know. */
public enum LayerKind {
  /** y = x·Wᵀ + b with W [out, in]. */
  LINEAR,
  /** y = x·W + b with W [in, out]: what GPT-2's checkpoints call Conv1D. */
  LINEAR_TRANSPOSED,
  /** Rows of W [count, dimension] chosen by index. */
  EMBEDDING,
  /** Convolution over one dimension with W [out, in / groups, kernel]. */
  CONV1D,
  /** Convolution over two dimensions with W [out, in / groups, kernel height, kernel width]. */
  CONV2D,
  /**
   * A layer with parameters that no low-rank method adapts: a norm, or one this library knows no
   * more of.
   */
  OTHER;

  /**
   * Tells whether {@code all-linear} includes this kind.
   *
   * @return true for the two linear kinds
   */
  public boolean isLinear() {
    return this == LINEAR || this == LINEAR_TRANSPOSED;
  }
}
