package io.peft4j.ia3;

import ai.djl.ndarray.NDArray;
import io.peft4j.nn.LayerAdapter;
import io.peft4j.nn.LayerCall;
import io.peft4j.torch.Ops;
import org.jspecify.annotations.Nullable;

/**
 * (IA)³ at one layer: y = l ⊙ (W·x + b), or W·(l ⊙ x) + b of a feed-forward layer. With a strength
 * s other than 1 the vector is 1 + s·(l − 1).
 */
final class Ia3Layer implements LayerAdapter {
  private final NDArray vector;
  private final boolean feedforward;
  private final boolean transposed;

  /**
   * The effect at one layer.
   *
   * @param vector l, float32 [out, 1], or [1, in] of a feed-forward layer
   * @param feedforward whether the input is multiplied
   * @param transposed whether the layer stores W as [in, out]
   */
  Ia3Layer(NDArray vector, boolean feedforward, boolean transposed) {
    this.vector = vector;
    this.feedforward = feedforward;
    this.transposed = transposed;
  }

  private NDArray flat(float strength) {
    NDArray flat = vector.flatten();
    return strength == 1
        ? flat
        : Ops.scale(flat.sub(flat.onesLike()), strength).add(flat.onesLike());
  }

  @Override
  public NDArray apply(LayerCall call, NDArray output) {
    NDArray l = flat(call.strength());
    if (!feedforward) {
      return output.mul(l);
    }
    NDArray x = call.input().mul(l);
    NDArray own =
        transposed
            ? Ops.linear(x, call.weight().dense().transpose(), call.bias())
            : call.weight().linear(x, call.bias());
    // What other adapters have added stays.
    return output == call.baseOutput() ? own : output.add(own.sub(call.baseOutput()));
  }

  @Override
  public NDArray mergedWeight(NDArray weight, NDArray original, float strength) {
    NDArray l = flat(strength);
    boolean columns = feedforward != transposed;
    NDArray side = columns ? l.expandDims(0) : l.expandDims(1);
    return feedforward ? weight.add(original.mul(side).sub(original)) : weight.mul(side);
  }

  @Override
  public @Nullable NDArray mergedBias(@Nullable NDArray bias, float strength) {
    return bias == null || feedforward ? bias : bias.mul(flat(strength));
  }

  @Override
  public @Nullable String conflict(LayerAdapter other) {
    return feedforward && other instanceof Ia3Layer both && both.feedforward
        ? "both multiply the layer's input"
        : null;
  }

  @Override
  public String describe() {
    return feedforward ? "input times a vector" : "output times a vector";
  }
}
