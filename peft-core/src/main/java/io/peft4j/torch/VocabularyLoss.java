package io.peft4j.torch;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Cross entropy of logits x·Wᵀ and the gradient of x in one go, without the logits: the vocabulary
 * is gone through in blocks, with a running maximum and sum for each row, and the gradient's sum of
 * weights is scaled down when the maximum grows. Exponentials are powers of two of logits scaled by
 * log2 e, which the engine computes several times as fast. Sums are float32.
 *
 * @param precision what the products with W are computed in
 * @param softcap the bound c of logits, which become c·tanh(logit / c); 0 for none
 * @param smoothing how much of the loss is the mean over the vocabulary, in [0, 1)
 */
public record VocabularyLoss(Precision precision, double softcap, double smoothing) {
  private static final Map<VocabularyLoss, Kernel> KERNELS = new ConcurrentHashMap<>();

  /** Values of a block of logits: they stay in the cache, and make products large enough. */
  private static final long BLOCK = 1 << 22;

  private static final double LOG2_E = 1 / Math.log(2);

  /**
   * Computes.
   *
   * @param states x, float32 [rows, hidden]
   * @param weight W [vocabulary, hidden] of any floating-point type
   * @param targets int64 [rows], the token of each row
   * @return the mean loss, a float32 scalar, and its gradient with respect to x, float32 [rows,
   *     hidden]
   */
  public NDList lossAndGradient(NDArray states, NDArray weight, NDArray targets) {
    try (GradMode off = GradMode.off()) {
      return KERNELS
          .computeIfAbsent(this, VocabularyLoss::kernel)
          .callMany(states, weight, targets);
    }
  }

  private static Kernel kernel(VocabularyLoss loss) {
    boolean half = loss.precision == Precision.BFLOAT16;
    boolean capped = loss.softcap > 0;
    boolean smoothed = loss.smoothing > 0;
    List<String> lines = new ArrayList<>();
    lines.add("n = torch.size(x, 0)");
    lines.add("v = torch.size(w, 0)");
    lines.add("k = ops.prim.max(torch.floordiv(" + BLOCK + ", n), 256)");
    lines.add("c = torch.floordiv(torch.sub(torch.add(v, k), 1), k)");
    // Logits come out scaled by log2 e already, unless they are to be bounded first.
    lines.add("xs = " + (capped ? "x" : "torch.mul(x, " + LOG2_E + ")"));
    lines.add("xc = " + (half ? "torch.to(xs, 15)" : "xs"));
    lines.add("m = torch.full_like(torch.slice(x, 1, 0, 1, 1), -inf)");
    lines.add("s = torch.zeros_like(m)");
    lines.add("a = torch.zeros_like(m)");
    lines.add("d = torch.zeros_like(x)");
    lines.add("f = torch.zeros_like(x)");
    lines.add("for i in range(c):");
    List<String> body = new ArrayList<>();
    body.add(
        "wi = torch.to(torch.slice(w, 0, torch.mul(i, k), torch.mul(torch.add(i, 1), k), 1), "
            + (half ? 15 : 6)
            + ")");
    body.add("z0 = " + wide("torch.mm(xc, torch.t(wi))", half));
    if (capped) {
      body.add("t = torch.tanh_(torch.div_(z0, " + loss.softcap + "))");
      body.add("z = torch.mul(t, " + loss.softcap * LOG2_E + ")");
      body.add("g = torch.rsub(torch.mul_(t, t), 1)");
    } else {
      body.add("z = z0");
    }
    if (smoothed) {
      body.add("_a = torch.add_(a, torch.sum(z, [1], True))");
    }
    body.add("m1 = torch.maximum(m, torch.amax(z, [1], True))");
    body.add("r = torch.exp2(torch.sub(m, m1))");
    body.add("_m = torch.copy_(m, m1)");
    body.add("e = torch.exp2_(torch.sub_(z, m1))");
    body.add("_s = torch.add_(torch.mul_(s, r), torch.sum(e, [1], True))");
    body.add("h = " + narrow(capped ? "torch.mul_(e, g)" : "e", half));
    if (half) {
      body.add("_d = torch.add_(torch.mul_(d, r), torch.mm(h, wi))");
    } else {
      body.add("_d = torch.addmm_(torch.mul_(d, r), h, wi)");
    }
    if (smoothed && capped) {
      body.add("_f = torch.add_(f, torch.mm(" + narrow("g", half) + ", wi))");
    }
    body.forEach(line -> lines.add("  " + line));
    // The logit of the target, from the rounded factors that the others come from.
    lines.add("wt = torch.to(torch.to(torch.index_select(w, 0, y), " + (half ? 15 : 6) + "), 6)");
    lines.add("q = torch.sum(torch.mul(torch.to(xc, 6), wt), [1], True)");
    if (capped) {
      lines.add("u = torch.tanh(torch.div(q, " + loss.softcap + "))");
      lines.add("p = torch.mul(u, " + loss.softcap * LOG2_E + ")");
      lines.add("b = torch.mul(wt, torch.rsub(torch.mul(u, u), 1))");
    } else {
      lines.add("p = q");
      lines.add("b = wt");
    }
    lines.add("l = torch.add(m, torch.log2(s))");
    lines.add("o0 = torch.sub(l, p)");
    String sum = "o0";
    String gradient = "torch.sub_(torch.div_(d, s), torch.mul(b, " + (1 - loss.smoothing) + "))";
    if (smoothed) {
      lines.add("o1 = torch.sub(l, torch.div(a, v))");
      sum =
          "torch.add(torch.mul(o0, "
              + (1 - loss.smoothing)
              + "), torch.mul(o1, "
              + loss.smoothing
              + "))";
      String all = capped ? "f" : "torch.sum(w, [0], True, dtype=6)";
      gradient =
          "torch.sub_("
              + gradient
              + ", torch.mul(torch.div("
              + all
              + ", v), "
              + loss.smoothing
              + "))";
    }
    lines.add("o = torch.div(torch.sum(" + sum + "), torch.mul(n, " + LOG2_E + "))");
    lines.add("return (o, torch.div_(" + gradient + ", n))");
    return Kernel.of(
        "x: Tensor, w: Tensor, y: Tensor -> Tuple[Tensor, Tensor]", lines.toArray(String[]::new));
  }

  private static String narrow(String x, boolean half) {
    return half ? "torch.to(" + x + ", 15)" : x;
  }

  private static String wide(String x, boolean half) {
    return half ? "torch.to(" + x + ", 6)" : x;
  }
}
