package io.peft4j.torch;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Causal attention in bfloat16 as batched products, forward and backward. The engine's fused
 * operator multiplies small tiles, which large products beat where a processor has instructions for
 * bfloat16. A block of queries at a time meets the keys up to its own end: what lies after is never
 * computed, and scores of one block at most exist. Query heads that share a key are rows of one
 * product, so that neither keys are repeated nor their gradients summed. Weights are computed again
 * in the backward pass.
 */
final class BlockedAttention {
  private static final Map<Variant, BlockedAttention> KERNELS = new ConcurrentHashMap<>();

  /** Queries of a block: fewer waste less on what is masked, more make larger products. */
  private static final int BLOCK = 128;

  private final Kernel forward;
  private final Kernel backward;

  private record Variant(Attention attention, boolean masked) {}

  private BlockedAttention(Variant variant) {
    String mask = variant.masked ? ", m: Tensor" : "";
    List<String> lines = new ArrayList<>(begin(variant));
    lines.add("o = torch.empty_like(q)");
    lines.add("o5 = " + grouped("o"));
    lines.add("for i in range(c):");
    weights(lines, variant.masked);
    lines.add("  _o = " + store("o5", "torch.bmm(p, ve)"));
    lines.add("return o");
    forward =
        Kernel.of(
            "q: Tensor, k: Tensor, v: Tensor" + mask + " -> Tensor", lines.toArray(String[]::new));
    lines = new ArrayList<>(begin(variant));
    lines.add("g5 = " + grouped("g"));
    lines.add("dq = torch.empty_like(q)");
    lines.add("d5 = " + grouped("dq"));
    lines.add("dk = torch.zeros_like(k1, dtype=6)");
    lines.add("dv = torch.zeros_like(v1, dtype=6)");
    lines.add("for i in range(c):");
    weights(lines, variant.masked);
    lines.add("  gi = " + rows("g5"));
    lines.add("  _v = " + addTo("dv", "torch.bmm(torch.transpose(p, 1, 2), gi)"));
    lines.add("  dp = torch.bmm(gi, torch.transpose(ve, 1, 2))");
    lines.add("  ds = torch._softmax_backward_data(dp, p, -1, 15)");
    lines.add("  _k = " + addTo("dk", "torch.bmm(torch.transpose(ds, 1, 2), qi)"));
    lines.add("  _q = " + store("d5", "torch.mul_(torch.bmm(ds, ke), a)"));
    lines.add("return (dq, " + joined("dk") + ", " + joined("dv") + ")");
    backward =
        Kernel.of(
            "q: Tensor, k: Tensor, v: Tensor, g: Tensor"
                + mask
                + " -> Tuple[Tensor, Tensor, Tensor]",
            lines.toArray(String[]::new));
  }

  static BlockedAttention of(Attention attention, boolean masked) {
    return KERNELS.computeIfAbsent(new Variant(attention, masked), BlockedAttention::new);
  }

  NDList forward(NDArray query, NDArray key, NDArray value, @Nullable NDArray mask) {
    return mask == null
        ? forward.callMany(query, key, value)
        : forward.callMany(query, key, value, mask);
  }

  NDList backward(
      NDArray query, NDArray key, NDArray value, @Nullable NDArray mask, NDArray above) {
    return mask == null
        ? backward.callMany(query, key, value, above)
        : backward.callMany(query, key, value, above, mask);
  }

  private static List<String> begin(Variant variant) {
    int shared = variant.attention.keyValueHeads();
    int groups = variant.attention.heads() / shared;
    double scale = variant.attention.scale();
    List<String> lines = new ArrayList<>();
    lines.add("b = torch.size(q, 0)");
    lines.add("n = torch.size(q, 1)");
    lines.add("h = " + shared);
    lines.add("r = " + groups);
    lines.add("z = torch.mul(b, h)");
    lines.add("d = torch.floordiv(torch.size(k, 2), h)");
    lines.add("c = torch.floordiv(torch.add(n, " + (BLOCK - 1) + "), " + BLOCK + ")");
    lines.add("a = " + (scale == 0 ? "torch.pow(d, -0.5)" : String.valueOf(scale)));
    lines.add("qs = torch.mul(q, a)");
    lines.add("q5 = " + grouped("qs"));
    for (String part : List.of("k", "v")) {
      lines.add(
          "%1$s1 = torch.reshape(torch.transpose(torch.reshape(%1$s, [b, n, h, d]), 1, 2),"
                  .formatted(part)
              + " [z, n, d])");
    }
    // Finite, so that no query gets NaN.
    lines.add(
        variant.masked
            ? "mh = torch.to(torch.clamp_min(m, -1e30), 15)"
            : "t = torch.triu(torch.full([%1$d, %1$d], -inf, dtype=15), 1)".formatted(BLOCK));
    return lines;
  }

  /**
   * Makes the weights p of block i, from f to e, its queries qi, and the keys and values it meets.
   */
  private static void weights(List<String> lines, boolean masked) {
    lines.add("  f = torch.mul(i, " + BLOCK + ")");
    lines.add("  e = ops.prim.min(torch.add(f, " + BLOCK + "), n)");
    lines.add("  l = torch.sub(e, f)");
    lines.add("  qi = " + rows("q5"));
    lines.add("  ke = torch.slice(k1, 1, 0, e, 1)");
    lines.add("  ve = torch.slice(v1, 1, 0, e, 1)");
    lines.add("  s = torch.bmm(qi, torch.transpose(ke, 1, 2))");
    lines.add("  s4 = torch.reshape(s, [b, torch.mul(h, r), l, e])");
    if (masked) {
      lines.add("  mb = torch.slice(torch.slice(mh, 2, f, e, 1), 3, 0, e, 1)");
    }
    lines.add(
        masked
            ? "  _s = torch.add_(s4, mb)"
            : "  _s = torch.add_(torch.slice(s4, 3, f, e, 1),"
                + " torch.slice(torch.slice(t, 0, 0, l, 1), 1, 0, l, 1))");
    lines.add("  p = torch.softmax(s, -1)");
    if (masked) {
      // Padding at the left predicts the first token: what sees nothing must give zeros, not a
      // mean.
      lines.add("  p4 = torch.reshape(p, [b, torch.mul(h, r), l, e])");
      lines.add("  _p = torch.masked_fill_(p4, torch.lt(torch.amax(mb, [-1], True), -1e29), 0.)");
    }
  }

  /** From [b, n, heads · d] to a view [b, h, r, n, d]. */
  private static String grouped(String x) {
    return "torch.permute(torch.reshape(" + x + ", [b, n, h, r, d]), [0, 2, 3, 1, 4])";
  }

  /** A block of queries, [z, r · l, d]. */
  private static String rows(String x) {
    return "torch.reshape(torch.slice(" + x + ", 3, f, e, 1), [z, torch.mul(r, l), d])";
  }

  private static String store(String x, String rows) {
    return "torch.copy_(torch.slice(%s, 3, f, e, 1), torch.reshape(%s, [b, h, r, l, d]))"
        .formatted(x, rows);
  }

  private static String addTo(String x, String product) {
    return "torch.add_(torch.slice(" + x + ", 1, 0, e, 1), " + product + ")";
  }

  /** From float32 [z, n, d] to bfloat16 [b, n, h · d]. */
  private static String joined(String x) {
    return "torch.reshape(torch.transpose(torch.reshape(torch.to(%s, 15), [b, h, n, d]), 1, 2),"
            .formatted(x)
        + " [b, n, -1])";
  }
}
