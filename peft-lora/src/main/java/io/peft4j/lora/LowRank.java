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
  // One pass over the weight: the delta is never held by itself.
  private static final Kernel ADD_DELTA =
      Kernel.of(
          "w: Tensor, a: Tensor, b: Tensor, s: Tensor -> Tensor",
          "f = annotate(float, torch.Float(s))",
          "return torch.addmm(w, b, a, beta=1, alpha=f)");

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

  /**
   * W + strength·s·(B·A − B₀·A₀) for a linear layer's W [out, in], or [in, out] if transposed. The
   * scaling is taken as a number: no gradient flows to it.
   */
  NDArray addDelta(NDArray weight, boolean transposed, float strength) {
    NDArray s = scaled(strength);
    NDArray result = addProduct(weight, a, b, s, transposed);
    return initial == null
        ? result
        : addProduct(result, initial.a(), initial.b(), s.neg(), transposed);
  }

  private static NDArray addProduct(
      NDArray weight, NDArray a, NDArray b, NDArray s, boolean transposed) {
    return transposed
        ? ADD_DELTA.call(weight, b.transpose(), a.transpose(), s)
        : ADD_DELTA.call(weight, a, b, s);
  }

  /** s times a strength. */
  NDArray scaled(float strength) {
    return Ops.scale(scaling, strength);
  }
}
