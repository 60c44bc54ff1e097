package io.peft4j.lora;

import ai.djl.ndarray.NDArray;
import io.peft4j.torch.Kernel;
import io.peft4j.torch.Ops;

/**
 * The arithmetic of DoRA (Liu et al. 2024): W' = m / ‖W + ΔW‖ · (W + ΔW), the norm taken over each
 * output's inputs and held constant in the backward pass (section 4.3 of the paper).
 */
final class Dora {
  /** ‖W + s·B·A‖ by rows without making the matrix: it needs W·Aᵀ, which is thin. */
  private static final Kernel NORM =
      Kernel.of(
          "w: Tensor, square: Tensor, a: Tensor, b: Tensor, s: Tensor -> Tensor",
          "a0 = torch.detach(a)",
          "b0 = torch.mul(torch.detach(b), s)",
          "cross = torch.sum(torch.mul(torch.linear(torch.detach(w), a0), b0), [1])",
          "own = torch.sum(torch.mul(torch.matmul(b0, torch.matmul(a0, torch.t(a0))), b0), [1])",
          "total = torch.add(torch.add(torch.detach(square), torch.mul(cross, 2)), own)",
          "return torch.sqrt(torch.clamp(total, 0.))");

  private static final Kernel SQUARES =
      Kernel.of("w: Tensor -> Tensor", "return torch.sum(torch.mul(w, w), [1])");

  private static final Kernel ROW_NORMS =
      Kernel.of(
          "w: Tensor -> Tensor",
          "f = torch.flatten(torch.detach(w), 1)",
          "return torch.sqrt(torch.sum(torch.mul(f, f), [1]))");

  private Dora() {}

  /** The squared norm of each row of a matrix [out, in]. */
  static NDArray squares(NDArray weight) {
    return SQUARES.call(weight);
  }

  /** The norm of each row of W [out, in...], constant in the backward pass. */
  static NDArray norms(NDArray weight) {
    return ROW_NORMS.call(weight);
  }

  /** The norm of each row of W + s·B·A, constant in the backward pass. */
  static NDArray norms(NDArray weight, NDArray squares, LowRank factors) {
    return NORM.call(weight, squares, factors.a(), factors.b(), factors.scaling());
  }

  /** strength·((m/‖·‖ − 1)·base + m/‖·‖·s·B·A·x), to be added to the layer's output. */
  static NDArray effect(NDArray base, NDArray x, NDArray ratio, LowRank factors, float strength) {
    NDArray zero = base.mul(ratio.sub(1));
    NDArray low =
        Ops.linear(Ops.linear(x, factors.a(), null).mul(factors.scaling()), factors.b(), null);
    NDArray effect = zero.add(low.mul(ratio));
    return Ops.scale(effect, strength);
  }
}
