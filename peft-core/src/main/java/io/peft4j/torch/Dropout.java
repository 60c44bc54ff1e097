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
            probability, p -> Kernel.of("x: Tensor -> Tensor", statements("x", "y", p), "return y"))
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
        "_e = torch.empty([torch.add(torch.floordiv(_n, 4), 1)], dtype=4, layout=None,"
            + " device=ops.prim.device("
            + from
            + "))",
        "_r = torch.random_(_e, torch.sub(torch.neg(9223372036854775807), 1), None)",
        "_b = torch.cat([" + lane(0, dropped) + ", " + lane(16, dropped) + ", " + lane(32, dropped),
        "    , torch.ge(torch.bitwise_right_shift(_r, 48), " + (dropped - STEPS / 2) + ")])",
        "_k = torch.to(torch.reshape(torch.slice(_b, 0, 0, _n, 1), torch.size(" + from + ")), 6)",
        to + " = torch.mul(" + from + ", torch.mul_(_k, " + scale + "))");
  }

  /** Which values the 16 bits from some bit on keep. */
  private static String lane(int shift, long dropped) {
    String shifted = shift == 0 ? "_r" : "torch.bitwise_right_shift(_r, " + shift + ")";
    return "torch.ge(torch.bitwise_and(" + shifted + ", 65535), " + dropped + ")";
  }
}
