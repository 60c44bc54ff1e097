package io.peft4j.torch;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Scaled dot-product attention, softmax(s·q·kᵀ + mask)·v for each head, as one fused operator of
 * the engine.
 *
 * <p>Projections come and go as [batch, length, heads · size], so that splitting into heads and
 * putting them together again is part of the same call. Fewer key and value heads than query heads
 * are repeated first: the engine's own way of sharing them is slow on CPUs. A query that may attend
 * to nothing gets zeros. Where attention weights are dropped out or scores are capped there is no
 * fused form, and such a query gets some mean of the values.
 *
 * @param heads query heads
 * @param keyValueHeads key and value heads, a divisor of {@code heads}
 * @param scale the factor s on the scores; 0 for 1 / sqrt(size)
 * @param softcap the bound c of scores, which become c·tanh(score / c) before the mask; 0 for none
 */
public record Attention(int heads, int keyValueHeads, double scale, double softcap) {
  private static final Map<Variant, Kernel> KERNELS = new ConcurrentHashMap<>();
  private static final Map<CachedVariant, Kernel> CACHED = new ConcurrentHashMap<>();
  private static final Map<MaskVariant, Kernel> MASKS = new ConcurrentHashMap<>();

  /** As good as minus infinity, and no softmax of nothing but it gives NaN. */
  private static final String LOWEST = "-1e30";

  private record Variant(Attention attention, boolean masked, boolean causal, double dropout) {}

  private record CachedVariant(Attention attention, boolean masked, boolean single, int window) {}

  private record MaskVariant(boolean padded, boolean packed, int window) {}

  /**
   * Attention with the usual scale and without a bound.
   *
   * @param heads query heads
   * @param keyValueHeads key and value heads, a divisor of {@code heads}
   * @return the attention
   */
  public static Attention of(int heads, int keyValueHeads) {
    return new Attention(heads, keyValueHeads, 0, 0);
  }

  /**
   * Attends.
   *
   * @param query float32 [batch, length, heads · size]
   * @param key float32 [batch, other length, keyValueHeads · size]
   * @param value as {@code key}
   * @param mask added to the scores before the softmax: float32 [batch or 1, 1, length or 1, other
   *     length], minus infinity where a key is not to be seen; null for none
   * @param causal whether a query sees only keys up to its own position; only without a mask
   * @param dropout probability with which attention weights are dropped, in [0, 1)
   * @return float32 [batch, length, heads · size], attached to the manager of {@code query}
   */
  public NDArray attend(
      NDArray query,
      NDArray key,
      NDArray value,
      @Nullable NDArray mask,
      boolean causal,
      double dropout) {
    Variant variant = new Variant(this, mask != null, causal, dropout);
    Kernel kernel = KERNELS.computeIfAbsent(variant, Attention::kernel);
    return mask == null ? kernel.call(query, key, value) : kernel.call(query, key, value, mask);
  }

  /**
   * Attends as {@link #attend} does without dropout, and gives what {@link #gradients} needs.
   *
   * @param precision the type of query, key, value and result, one that was got from {@link
   *     #gradientPrecision}
   * @param query as for {@link #attend}
   * @param key as for {@link #attend}
   * @param value as for {@link #attend}
   * @param mask as for {@link #attend}; if null, a query sees only keys up to its own position
   * @return the result as of {@link #attend}, and the logarithms of the sums that the weights were
   *     divided by; the result alone where these are not needed
   */
  public NDList attendKeeping(
      Precision precision, NDArray query, NDArray key, NDArray value, @Nullable NDArray mask) {
    if (precision == Precision.BFLOAT16) {
      return BlockedAttention.of(this, mask != null).forward(query, key, value, mask);
    }
    if (softcap > 0) {
      return new NDList(attend(query, key, value, mask, mask == null, 0));
    }
    return AttentionGradient.of(this, mask != null).forward(query, key, value, mask);
  }

  /**
   * The type in which gradients are computed.
   *
   * @param products what comes before and after attention is computed in
   * @return the same; float32 where scores have a bound
   */
  public Precision gradientPrecision(Precision products) {
    return softcap > 0 ? Precision.FLOAT32 : products;
  }

  /**
   * The gradients of query, key and value.
   *
   * @param precision as was given to {@link #attendKeeping}
   * @param query as was given to {@link #attendKeeping}
   * @param key as was given
   * @param value as was given
   * @param mask as was given
   * @param kept what {@link #attendKeeping} gave
   * @param above the gradient of its result
   * @return three arrays of the shapes of query, key and value
   */
  public NDList gradients(
      Precision precision,
      NDArray query,
      NDArray key,
      NDArray value,
      @Nullable NDArray mask,
      NDList kept,
      NDArray above) {
    if (precision == Precision.BFLOAT16) {
      return BlockedAttention.of(this, mask != null).backward(query, key, value, mask, above);
    }
    if (softcap == 0) {
      return AttentionGradient.of(this, mask != null)
          .backward(query, key, value, mask, kept, above);
    }
    NDList inputs = new NDList();
    for (NDArray input : List.of(query, key, value)) {
      NDArray leaf = input.stopGradient();
      leaf.setRequiresGradient(true);
      inputs.add(leaf);
    }
    try (GradMode on = GradMode.on()) {
      NDArray again = attend(inputs.get(0), inputs.get(1), inputs.get(2), mask, mask == null, 0);
      JniUtils.backward((PtNDArray) again, (PtNDArray) above, false, false);
    }
    NDList gradients = new NDList();
    for (NDArray input : inputs) {
      gradients.add(JniUtils.getGradient((PtNDArray) input));
    }
    return gradients;
  }

  /**
   * Writes new keys and values into a cache and attends to all that are in it then.
   *
   * @param query float32 [batch, length, heads · size]
   * @param key float32 [batch, length, keyValueHeads · size]
   * @param value as {@code key}
   * @param keys the cache, float32 [batch, keyValueHeads, capacity, size]; written to
   * @param values as {@code keys}
   * @param past how many tokens the cache holds so far: int64 scalar, at most capacity - length
   * @param mask as for {@link #attend}, with the keys of all past + length tokens; null for a
   *     single query that sees all keys within the window, and for several if nothing is past and
   *     each sees all keys up to its own
   * @param window how many keys a single query without mask sees, its own included; 0 for all
   * @return float32 [batch, length, heads · size]
   */
  public NDArray attendCached(
      NDArray query,
      NDArray key,
      NDArray value,
      NDArray keys,
      NDArray values,
      NDArray past,
      @Nullable NDArray mask,
      int window) {
    boolean single = query.getShape().get(1) == 1;
    CachedVariant variant =
        new CachedVariant(this, mask != null, single, single && mask == null ? window : 0);
    Kernel kernel = CACHED.computeIfAbsent(variant, Attention::cachedKernel);
    return mask == null
        ? kernel.call(query, key, value, keys, values, past)
        : kernel.call(query, key, value, keys, values, past, mask);
  }

  /**
   * Makes what {@link #attend} adds to the scores of a decoder: 0 where a query may see a key,
   * minus infinity at padding, at other sequences, at what comes after the query, and at what lies
   * before its window.
   *
   * @param manager where the mask is made
   * @param padding float32 [batch, 1, 1, past + length]: 0 at tokens, minus infinity at padding;
   *     null for none
   * @param sequences int64 [batch, length], equal where tokens see each other; null if all do, and
   *     where keys are past
   * @param past number of keys before the first query's own
   * @param length number of queries
   * @param window how many keys a query sees, its own included; 0 for all
   * @return float32 [batch or 1, 1, length, past + length]
   */
  public static NDArray causalMask(
      NDManager manager,
      @Nullable NDArray padding,
      @Nullable NDArray sequences,
      long past,
      long length,
      int window) {
    Kernel kernel =
        MASKS.computeIfAbsent(
            new MaskVariant(padding != null, sequences != null, window), Attention::maskKernel);
    NDArray zeros = manager.zeros(new Shape(length, past + length), DataType.FLOAT32);
    return kernel.call(
        Stream.of(zeros, padding, sequences).filter(Objects::nonNull).toArray(NDArray[]::new));
  }

  private static Kernel maskKernel(MaskVariant variant) {
    String lower = "torch.triu(f, torch.add(torch.sub(l, n), 1))";
    // A query's own key is on diagonal l - n; the window ends that many diagonals below.
    String window =
        "torch.add("
            + lower
            + ", torch.tril(f, torch.sub(torch.sub(l, n), "
            + variant.window
            + ")))";
    return Kernel.of(
        "z: Tensor"
            + (variant.padded ? ", p: Tensor" : "")
            + (variant.packed ? ", s: Tensor" : "")
            + " -> Tensor",
        "n = torch.size(z, 0)",
        "l = torch.size(z, 1)",
        "f = torch.full_like(z, -inf)",
        "t = torch.reshape(" + (variant.window > 0 ? window : lower) + ", [1, 1, n, l])",
        variant.packed
            ? "u = torch.masked_fill(t, torch.ne(torch.reshape(s, [-1, 1, n, 1]),"
                + " torch.reshape(s, [-1, 1, 1, n])), -inf)"
            : "u = t",
        "return " + (variant.padded ? "torch.add(p, u)" : "u"));
  }

  private static Kernel kernel(Variant variant) {
    Attention attention = variant.attention;
    int groups = attention.heads / attention.keyValueHeads;
    boolean plain = variant.dropout == 0 && attention.softcap == 0;
    return Kernel.of(
        "q: Tensor, k: Tensor, v: Tensor" + (variant.masked() ? ", m: Tensor" : "") + " -> Tensor",
        "b = torch.size(q, 0)",
        "n = torch.size(q, 1)",
        "l = torch.size(k, 1)",
        "q1 = " + split("q", "n", attention.heads),
        "k1 = " + repeat(split("k", "l", attention.keyValueHeads), groups),
        "v1 = " + repeat(split("v", "l", attention.keyValueHeads), groups),
        plain
            ? attention.fused("o", variant.masked, variant.causal)
            : attention.written("o", variant.masked, variant.causal, variant.dropout),
        "return torch.reshape(torch.transpose(o, 1, 2), [b, n, -1])");
  }

  private static Kernel cachedKernel(CachedVariant variant) {
    Attention attention = variant.attention;
    List<String> lines = new ArrayList<>();
    lines.add("b = torch.size(q, 0)");
    lines.add("n = torch.size(q, 1)");
    lines.add("qh = torch.reshape(q, [b, n, " + attention.heads + ", -1])");
    lines.add("kh = torch.reshape(k, [b, n, " + attention.keyValueHeads + ", -1])");
    lines.add("vh = torch.reshape(v, [b, n, " + attention.keyValueHeads + ", -1])");
    lines.addAll(attention.cachedStatements(variant.masked, variant.single, variant.window));
    lines.add("return o");
    return Kernel.of(
        "q: Tensor, k: Tensor, v: Tensor, kc: Tensor, vc: Tensor, p: Tensor"
            + (variant.masked ? ", m: Tensor" : "")
            + " -> Tensor",
        lines.toArray(String[]::new));
  }

  /**
   * What {@link #attendCached} does, as statements of a larger kernel. Its variables: b and n,
   * batch and length; qh [b, n, heads, size], kh and vh [b, n, keyValueHeads, size]; kc and vc, the
   * cache; p, how many tokens it holds; m, the mask, if there is one. They make o [b, n, heads ·
   * size].
   *
   * @param masked whether there is a mask
   * @param single whether n is 1
   * @param window as for {@link #attendCached}
   * @return the statements
   */
  public List<String> cachedStatements(boolean masked, boolean single, int window) {
    int groups = heads / keyValueHeads;
    boolean causal = !single && !masked;
    String keys = "torch.slice(kc, 2, s, e, 1)";
    String values = "torch.slice(vc, 2, s, e, 1)";
    return List.of(
        "f = int(p)",
        "e = torch.add(f, n)",
        "_k = torch.copy_(torch.slice(kc, 2, f, e, 1), torch.transpose(kh, 1, 2))",
        "_v = torch.copy_(torch.slice(vc, 2, f, e, 1), torch.transpose(vh, 1, 2))",
        window == 0 ? "s = 0" : "s = ops.prim.max(torch.sub(e, " + window + "), 0)",
        // The heads that share a key can stand for queries of one head: nothing is repeated.
        "q1 = "
            + (single
                ? "torch.reshape(qh, [b, " + keyValueHeads + ", " + groups + ", -1])"
                : "torch.transpose(qh, 1, 2)"),
        "k1 = " + (single ? keys : repeat(keys, groups)),
        "v1 = " + (single ? values : repeat(values, groups)),
        softcap == 0 ? fused("a0", masked, causal) : written("a0", masked, causal, 0),
        "o = torch.reshape(" + (single ? "a0" : "torch.transpose(a0, 1, 2)") + ", [b, n, -1])");
  }

  private String fused(String result, boolean masked, boolean causal) {
    return result
        + " = torch.scaled_dot_product_attention(q1, k1, v1, "
        + (masked ? "m" : "None")
        + ", 0., "
        + (causal ? "True" : "False")
        + (scale == 0 ? ")" : ", scale=" + scale + ")");
  }

  /** The formula written out. The mask is kept finite, so that no query is left with nothing. */
  private String written(String result, boolean masked, boolean causal, double dropout) {
    String causality =
        "s3 = torch.add_(s2, torch.triu(torch.full([n, torch.size(k1, 2)], "
            + LOWEST
            + ", dtype=6, layout=None, device=ops.prim.device(q1)), 1))";
    return String.join(
        "\n    ",
        "q2 = torch.mul(q1, "
            + (scale == 0 ? "torch.pow(torch.size(q1, 3), -0.5)" : String.valueOf(scale))
            + ")",
        "s1 = torch.matmul(q2, torch.transpose(k1, 2, 3))",
        softcap == 0
            ? "s2 = s1"
            : "s2 = torch.mul(torch.tanh(torch.div(s1, " + softcap + ")), " + softcap + ")",
        masked
            ? "s3 = torch.add(s2, torch.clamp_min(m, " + LOWEST + "))"
            : causal ? causality : "s3 = s2",
        "w0 = torch.softmax(s3, -1)",
        dropout > 0 ? Dropout.statements("w0", "w", dropout) : "w = w0",
        result + " = torch.matmul(w, v1)");
  }

  static String split(String name, String length, int heads) {
    return "torch.transpose(torch.reshape("
        + name
        + ", [b, "
        + length
        + ", "
        + heads
        + ", -1]), 1, 2)";
  }

  static String repeat(String split, int groups) {
    return groups == 1
        ? split
        : "torch.flatten(torch.expand(torch.unsqueeze("
            + split
            + ", 2), [-1, -1, "
            + groups
            + ", -1, -1]), 1, 2)";
  }
}
