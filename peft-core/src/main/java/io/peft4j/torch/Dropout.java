package io.peft4j.torch;

import ai.djl.ndarray.NDArray;
import ai.djl.pytorch.jni.JniUtils;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Dropout with cheap random numbers. The engine draws one number for each value, in parallel; with
 * few threads it is faster to draw 64 bits for four values at once. The probability is then a
 * multiple of 2^-16, and what is kept is scaled by exactly that.
 */
final class Dropout {
  /** With this many threads the engine's parallel way has caught up. */
  private static final int MANY_THREADS = 4;

  private static final int STEPS = 1 << 16;
  private static final Map<Double, Kernel> KERNELS = new ConcurrentHashMap<>();

  private Dropout() {}

  static NDArray apply(NDArray x, double probability) {
    return KERNELS
        .computeIfAbsent(
            probability,
            p -> Kernel.of("x: Tensor -> Tensor", statements("x", "y", p), "return y"))
        .call(x);
  }

  /** TorchScript statements that make the variable {@code to} of the contiguous {@code from}. */
  static String statements(String from, String to, double probability) {
    long dropped = Math.round(probability * STEPS);
    if (dropped == 0 || dropped == STEPS || JniUtils.getNumThreads() >= MANY_THREADS) {
      return to + " = torch.dropout(" + from + ", " + probability + ", True)";
    }
    double scale = 1 / (1 - (double) dropped / STEPS);
    return String.join(
        "\n    ",
        "_n = torch.numel(" + from + ")",
        "_r = torch.empty([torch.add(torch.floordiv(_n, 4), 1)], dtype=4, layout=None, device=ops.prim.device("
            + from
            + "))",
        "_r0 = torch.random_(_r, torch.sub(torch.neg(9223372036854775807), 1), None)",
        "_r1 = torch.reshape(torch.slice(torch.view(_r0, dtype=2), 0, 0, _n, 1), torch.size(" + from + "))",
        "_k = torch.to(torch.ge(_r1, " + (dropped - STEPS / 2) + "), 6)",
        to + " = torch.mul(" + from + ", torch.mul_(_k, " + scale + "))");
  }
}
