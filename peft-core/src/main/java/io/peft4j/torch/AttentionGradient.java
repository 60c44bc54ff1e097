package io.peft4j.torch;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Fused attention whose gradients are asked for by hand: the operators that the engine's own
 * backward pass calls.
 */
final class AttentionGradient {
  private static final Map<Variant, AttentionGradient> KERNELS = new ConcurrentHashMap<>();

  private final Kernel forward;
  private final Kernel backward;

  private record Variant(Attention attention, boolean masked) {}

  private AttentionGradient(Variant variant) {
    Attention attention = variant.attention;
    int heads = attention.heads();
    int shared = attention.keyValueHeads();
    String mask = variant.masked ? ", m: Tensor" : "";
    String end =
        ", 0., "
            + (variant.masked ? "False, attn_mask=m" : "True")
            + (attention.scale() == 0 ? ")" : ", scale=" + attention.scale() + ")");
    List<String> begin =
        List.of(
            "b = torch.size(q, 0)",
            "n = torch.size(q, 1)",
            "q1 = " + Attention.split("q", "n", heads),
            "k1 = " + Attention.repeat(Attention.split("k", "n", shared), heads / shared),
            "v1 = " + Attention.repeat(Attention.split("v", "n", shared), heads / shared));
    List<String> lines = new ArrayList<>(begin);
    lines.add("o, l = torch._scaled_dot_product_flash_attention_for_cpu(q1, k1, v1" + end);
    lines.add("return (" + joined("o") + ", l)");
    forward =
        Kernel.of(
            "q: Tensor, k: Tensor, v: Tensor" + mask + " -> Tuple[Tensor, Tensor]",
            lines.toArray(String[]::new));
    lines = new ArrayList<>(begin);
    lines.add("o1 = " + Attention.split("o", "n", heads));
    lines.add("g1 = " + Attention.split("g", "n", heads));
    lines.add(
        "dq, dk, dv = torch._scaled_dot_product_flash_attention_for_cpu_backward(g1, q1, k1, v1,"
            + " o1, l"
            + end);
    lines.add(
        "return ("
            + joined("dq")
            + ", "
            + joined(summed("dk", shared, heads / shared))
            + ", "
            + joined(summed("dv", shared, heads / shared))
            + ")");
    backward =
        Kernel.of(
            "q: Tensor, k: Tensor, v: Tensor, o: Tensor, l: Tensor, g: Tensor"
                + mask
                + " -> Tuple[Tensor, Tensor, Tensor]",
            lines.toArray(String[]::new));
  }

  static AttentionGradient of(Attention attention, boolean masked) {
    return KERNELS.computeIfAbsent(new Variant(attention, masked), AttentionGradient::new);
  }

  NDList forward(NDArray query, NDArray key, NDArray value, @Nullable NDArray mask) {
    return mask == null
        ? forward.callMany(query, key, value)
        : forward.callMany(query, key, value, mask);
  }

  NDList backward(
      NDArray query,
      NDArray key,
      NDArray value,
      @Nullable NDArray mask,
      NDList kept,
      NDArray above) {
    NDArray output = kept.get(0);
    NDArray sums = kept.get(1);
    return mask == null
        ? backward.callMany(query, key, value, output, sums, above)
        : backward.callMany(query, key, value, output, sums, above, mask);
  }

  /** From [batch, heads, length, size] to [batch, length, heads · size]. */
  private static String joined(String x) {
    return "torch.reshape(torch.transpose(" + x + ", 1, 2), [b, n, -1])";
  }

  /** Over the query heads that share a key. */
  private static String summed(String x, int shared, int groups) {
    return groups == 1
        ? x
        : "torch.sum(torch.reshape(%s, [b, %d, %d, n, -1]), [2])".formatted(x, shared, groups);
  }
}
