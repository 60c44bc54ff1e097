package io.peft4j.torch;

import ai.djl.ndarray.NDArray;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Scaled dot-product attention, softmax(q·kᵀ / sqrt(size) + mask)·v for each head, as one fused
 * operator of the engine.
 *
 * <p>Projections come and go as [batch, length, heads · size], so that splitting into heads and
 * putting them together again is part of the same call. Fewer key and value heads than query heads
 * are repeated first: the engine's own way of sharing them is slow on CPUs. A query that may attend
 * to nothing gets zeros. Where attention weights are dropped out there is no fused form, and such a
 * query gets some mean of the values.
 */
public final class Attention {
  private static final Map<Variant, Kernel> KERNELS = new ConcurrentHashMap<>();
  private static final Kernel CAUSAL_MASK =
      Kernel.of(
          "m: Tensor -> Tensor",
          "n = torch.size(m, -1)",
          "f = torch.full([n, n], -inf, dtype=6, layout=None, device=ops.prim.device(m))",
          "return torch.add(m, torch.triu(f, 1))");

  private Attention() {}

  private record Variant(
      int heads, int keyValueHeads, boolean masked, boolean causal, double dropout) {}

  /**
   * Attends.
   *
   * @param query float32 [batch, length, heads · size]
   * @param key float32 [batch, other length, keyValueHeads · size]
   * @param value as {@code key}
   * @param mask added to the scores before the softmax: float32 [batch or 1, 1, length or 1, other
   *     length], minus infinity where a key is not to be seen; null for none
   * @param heads query heads
   * @param keyValueHeads key and value heads, a divisor of {@code heads}
   * @param causal whether a query sees only keys up to its own position; only without a mask
   * @param dropout probability with which attention weights are dropped, in [0, 1)
   * @return float32 [batch, length, heads · size], attached to the manager of {@code query}
   */
  public static NDArray attend(
      NDArray query,
      NDArray key,
      NDArray value,
      @Nullable NDArray mask,
      int heads,
      int keyValueHeads,
      boolean causal,
      double dropout) {
    Variant variant = new Variant(heads, keyValueHeads, mask != null, causal, dropout);
    Kernel kernel = KERNELS.computeIfAbsent(variant, Attention::kernel);
    return mask == null ? kernel.call(query, key, value) : kernel.call(query, key, value, mask);
  }

  /**
   * Turns a padding mask into what {@link #attend} adds to the scores of a decoder: 0 where a query
   * may see a key, minus infinity at padding and at what comes after the query.
   *
   * @param padding float32 [batch, 1, 1, length]: 0 at tokens, minus infinity at padding
   * @return float32 [batch, 1, length, length]
   */
  public static NDArray causalMask(NDArray padding) {
    return CAUSAL_MASK.call(padding);
  }

  private static Kernel kernel(Variant variant) {
    int groups = variant.heads() / variant.keyValueHeads();
    return Kernel.of(
        "q: Tensor, k: Tensor, v: Tensor" + (variant.masked() ? ", m: Tensor" : "") + " -> Tensor",
        "b = torch.size(q, 0)",
        "n = torch.size(q, 1)",
        "l = torch.size(k, 1)",
        "q1 = torch.transpose(torch.reshape(q, [b, n, " + variant.heads() + ", -1]), 1, 2)",
        "k1 = " + split("k", variant.keyValueHeads(), groups),
        "v1 = " + split("v", variant.keyValueHeads(), groups),
        variant.dropout() > 0 ? dropping(variant) : fused(variant),
        "return torch.reshape(torch.transpose(o, 1, 2), [b, n, -1])");
  }

  private static String fused(Variant variant) {
    return "o = torch.scaled_dot_product_attention(q1, k1, v1, "
        + (variant.masked() ? "m" : "None")
        + ", 0., "
        + (variant.causal() ? "True" : "False")
        + ")";
  }

  /** The mask is kept finite, so that no query is left with nothing and no softmax with NaN. */
  private static String dropping(Variant variant) {
    String causal =
        "s1 = torch.add_(s0, torch.triu(torch.full([n, l], -1e30, dtype=6, layout=None,"
            + " device=ops.prim.device(q)), 1))";
    return String.join(
        "\n    ",
        "q2 = torch.mul(q1, torch.pow(torch.size(q1, 3), -0.5))",
        "s0 = torch.matmul(q2, torch.transpose(k1, 2, 3))",
        variant.masked()
            ? "s1 = torch.add_(s0, torch.clamp_min(m, -1e30))"
            : variant.causal() ? causal : "s1 = s0",
        "w0 = torch.softmax(s1, -1)",
        Dropout.statements("w0", "w", variant.dropout()),
        "o = torch.matmul(w, v1)");
  }

  private static String split(String name, int heads, int groups) {
    String split = "torch.transpose(torch.reshape(" + name + ", [b, l, " + heads + ", -1]), 1, 2)";
    return groups == 1
        ? split
        : "torch.flatten(torch.expand(torch.unsqueeze("
            + split
            + ", 2), [-1, -1, "
            + groups
            + ", -1, -1]), 1, 2)";
  }
}
