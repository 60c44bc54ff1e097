package io.peft4j.lora;

import ai.djl.ndarray.NDArray;
import io.peft4j.torch.Kernel;
import io.peft4j.torch.Ops;
import org.jspecify.annotations.Nullable;

/**
 * The low-rank product of one layer: s·B·A, and for PiSSA and OLoRA s·(B·A − B₀·A₀).
 *
 * @param a float32 [rank, in], or a convolution's [rank, in, kernel...]
 * @param b float32 [out, rank], or a convolution's [out, rank, 1...]
 * @param initial what A and B began with, where the base gives that up; else null
 * @param scaling s as a float32 scalar
 * @param scalingValue s
 */
record LowRank(
    NDArray a, NDArray b, @Nullable Factors initial, NDArray scaling, double scalingValue) {
  private static final Kernel DELTA =
      Kernel.of(
          "a: Tensor, b: Tensor, s: Tensor -> Tensor",
          "return torch.matmul(torch.mul(torch.flatten(b, 1), s), torch.flatten(a, 1))");

  long rank() {
    return a.getShape().get(0);
  }

  /** y + strength·s·(B·A − B₀·A₀)·x, for a linear layer. */
  NDArray addTo(NDArray y, NDArray x, float strength) {
    NDArray s = scaled(strength);
    NDArray result = Ops.addLowRank(y, x, a, b, s);
    return initial == null ? result : Ops.addLowRank(result, x, initial.a(), initial.b(), s.neg());
  }

  /** s·(B·A − B₀·A₀) as a matrix [out, in·kernel]. */
  NDArray delta() {
    NDArray delta = DELTA.call(a, b, scaling);
    return initial == null ? delta : delta.sub(DELTA.call(initial.a(), initial.b(), scaling));
  }

  /** s times a strength. */
  NDArray scaled(float strength) {
    return strength == 1 ? scaling : scaling.mul(strength);
  }
}
