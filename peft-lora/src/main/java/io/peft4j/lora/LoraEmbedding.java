package io.peft4j.lora;

import ai.djl.ndarray.NDArray;
import io.peft4j.nn.LayerAdapter;
import io.peft4j.nn.LayerCall;
import io.peft4j.torch.Kernel;
import io.peft4j.torch.Ops;
import org.jspecify.annotations.Nullable;

/**
 * LoRA at an embedding: row i of W [count, dimension] becomes W[i] + s·B·A[:, i], with A [rank,
 * count] and B [dimension, rank]. Dropout does not act here, as in PEFT.
 */
final class LoraEmbedding implements LayerAdapter {
  private static final Kernel LOOK_UP =
      Kernel.of(
          "ids: Tensor, a: Tensor, b: Tensor, s: Tensor -> Tensor",
          "rows = torch.embedding(torch.t(a), ids)",
          "return torch.linear(torch.mul(rows, s), b)");

  private final LowRank factors;
  private final @Nullable NDArray magnitude;

  /**
   * LoRA at one embedding.
   *
   * @param factors A and B
   * @param magnitude DoRA's m [dimension], or null
   */
  LoraEmbedding(LowRank factors, @Nullable NDArray magnitude) {
    this.factors = factors;
    this.magnitude = magnitude;
  }

  @Override
  public NDArray apply(LayerCall call, NDArray output) {
    NDArray low = LOOK_UP.call(call.input(), factors.a(), factors.b(), factors.scaling());
    Factors initial = factors.initial();
    if (initial != null) {
      low = low.sub(LOOK_UP.call(call.input(), initial.a(), initial.b(), factors.scaling()));
    }
    if (magnitude != null) {
      NDArray ratio = ratio(call.weight().dense(), factors.delta());
      low = call.baseOutput().mul(ratio.sub(1)).add(low.mul(ratio));
    }
    return output.add(Ops.scale(low, call.strength()));
  }

  @Override
  public NDArray mergedWeight(NDArray weight, NDArray original, float strength) {
    NDArray delta = factors.delta();
    NDArray change = delta.transpose();
    if (magnitude != null) {
      change = original.add(change).mul(ratio(original, delta)).sub(original);
    }
    return weight.add(Ops.scale(change, strength));
  }

  /** m / ‖W + ΔW‖, the norm over all rows for each dimension. */
  private NDArray ratio(NDArray weight, NDArray delta) {
    NDArray m = magnitude;
    if (m == null) {
      throw new IllegalStateException("only DoRA has a magnitude");
    }
    return m.div(Dora.norms(weight.transpose().add(delta)));
  }

  @Override
  public String describe() {
    return LoraEffects.describe(factors, magnitude != null, false);
  }
}
