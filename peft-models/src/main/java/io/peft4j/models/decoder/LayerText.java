package io.peft4j.models.decoder;

import io.peft4j.torch.Kernel;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Precision;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * The kernels of a decoder layer whose gradients are computed by hand, two each way: what comes
 * before attention, and what comes after. They compute what {@link DecoderLayer} computes, and the
 * formulas' derivatives. Equal descriptions share their kernels.
 *
 * @param config the layer's arithmetic
 * @param inputs the products that queries, keys and values come from
 * @param output the product that attention ends with
 * @param inner the products that the feed-forward network begins with
 * @param down the product that it ends with
 */
record LayerText(
    LayerConfig config,
    ProductText inputs,
    ProductText output,
    ProductText inner,
    ProductText down) {
  private static final Map<LayerText, LayerText.Kernels> KERNELS = new ConcurrentHashMap<>();

  /** A kernel, and the names of what it takes and gives, in order. */
  record Described(Kernel kernel, List<String> results) {}

  /**
   * The kernels.
   *
   * @param before x to q, k, v and what is kept
   * @param after x and o to the layer's output y and what is kept
   * @param again as {@code after} without y
   * @param afterGradients the gradient of y to those of o and of x past attention
   * @param beforeGradients the gradients of q, k, v and of x past attention to that of x
   * @param lastGradients as {@code beforeGradients} without that of x
   * @param attention what attention is computed in
   */
  record Kernels(
      Described before,
      Described after,
      Described again,
      Described afterGradients,
      Described beforeGradients,
      Described lastGradients,
      Precision attention) {}

  Kernels kernels() {
    return KERNELS.computeIfAbsent(
        this,
        text ->
            new Kernels(
                text.before(),
                text.after(true),
                text.after(false),
                text.afterGradients(),
                text.beforeGradients(true),
                text.beforeGradients(false),
                text.attention()));
  }

  private boolean headNorms() {
    return config.options().headNorms();
  }

  private boolean outerNorms() {
    return config.options().outerNorms();
  }

  private int[] inputSizes() {
    return new int[] {config.querySize(), config.keySize(), config.keySize()};
  }

  // --- forward --------------------------------------------------------------------------------

  /** Of x, float32 [batch, length, hidden], and the tables of angles. */
  private Described before() {
    List<String> takes = new ArrayList<>(List.of("x", "c", "s", "ni"));
    List<String> gives = new ArrayList<>(List.of("q", "k", "v"));
    List<String> lines = new ArrayList<>(sizes("x"));
    if (headNorms()) {
      takes.addAll(List.of("nq", "nk"));
      gives.addAll(List.of("q0", "k0"));
    }
    takes.addAll(inputs.forwardOperands());
    lines.add("h = torch.flatten(" + inputs.narrow(norm("x", "ni")) + ", 0, 1)");
    split(lines, inputs, "h", List.of("q0", "k0", "v0"), inputSizes());
    for (String part : List.of("q", "k")) {
      lines.add(
          "%1$s1 = torch.reshape(%2$s, [b, n, -1, %3$d])"
              .formatted(part, inputs.wide(part + "0"), config.headSize()));
      lines.add(part + "2 = " + (headNorms() ? norm(part + "1", "n" + part) : part + "1"));
      lines.addAll(config.rotary().statements(part + "2", "c", "s", part + "3"));
      lines.add(part + " = torch.flatten(" + attended(part + "3") + ", 2, 3)");
    }
    lines.add("v = torch.reshape(" + fromProducts("v0") + ", [b, n, -1])");
    return described(takes, lines, keepLow(gives, inputs));
  }

  /** Whether attention takes what the products give: where it has no form in bfloat16, float32. */
  private boolean halfAttention() {
    return attention() == Precision.BFLOAT16;
  }

  /** What attention is computed in. */
  Precision attention() {
    return config
        .attention()
        .gradientPrecision(inputs.half() ? Precision.BFLOAT16 : Precision.FLOAT32);
  }

  /** An expression of float32 as attention takes it. */
  private String attended(String x) {
    return halfAttention() ? inputs.narrow(x) : x;
  }

  /** An expression of the products' type as attention takes it. */
  private String fromProducts(String x) {
    return halfAttention() ? x : inputs.wide(x);
  }

  /** An expression of what attention gives in the products' type. */
  private String toProducts(String x) {
    return halfAttention() ? x : inputs.narrow(x);
  }

  /** Of x and o, what attention gave, [batch, length, heads · size]. */
  private Described after(boolean whole) {
    List<String> takes = new ArrayList<>(List.of("x", "o", "nf"));
    List<String> gives = new ArrayList<>(List.of("x1", "g", "u"));
    if (outerNorms()) {
      takes.addAll(List.of("na", "no"));
    }
    takes.addAll(output.forwardOperands());
    takes.addAll(inner.forwardOperands());
    takes.addAll(down.forwardOperands());
    List<String> lines = new ArrayList<>(sizes("x"));
    lines.add("of = torch.flatten(" + toProducts("o") + ", 0, 1)");
    lines.addAll(output.forward("of", List.of("a0")));
    lines.add("ao = " + output.wide("a0"));
    lines.add("xf = torch.flatten(x, 0, 1)");
    lines.add(
        "x1 = " + (outerNorms() ? "torch.add(xf, " + norm("ao", "na") + ")" : "torch.add(xf, ao)"));
    lines.add("h = " + inner.narrow(norm("x1", "nf")));
    int size = config.intermediate();
    split(lines, inner, "h", List.of("g", "u"), new int[] {size, size});
    if (outerNorms()) {
      gives.add("ao");
    }
    keepLow(keepLow(gives, output), inner);
    // Gemma's outer norm is one of the last product, which is therefore needed either way.
    if (whole || outerNorms() || down.acts()) {
      lines.add("a = torch.mul(" + config.activation().of("g") + ", u)");
    }
    if (whole || outerNorms()) {
      lines.addAll(down.forward("a", List.of("d0")));
      lines.add("dn = " + down.wide("d0"));
    } else {
      lines.addAll(down.lowStatements("a"));
    }
    if (outerNorms()) {
      gives.add("dn");
    }
    keepLow(gives, down);
    if (whole) {
      lines.add("y0 = torch.add(x1, " + (outerNorms() ? norm("dn", "no") : "dn") + ")");
      lines.add("y = torch.reshape(y0, [b, n, -1])");
      gives.add(0, "y");
    }
    return described(takes, lines, gives);
  }

  private static List<String> keepLow(List<String> gives, ProductText product) {
    if (product.trained()) {
      gives.add(product.low());
    }
    return gives;
  }

  /** The products of x, each a matrix, also where they are columns of one. */
  private static void split(
      List<String> lines, ProductText product, String x, List<String> parts, int[] sizes) {
    boolean joined = product.ranks().size() == 1;
    lines.addAll(product.forward(x, joined ? List.of("all") : parts));
    if (joined) {
      int begin = 0;
      for (int i = 0; i < sizes.length; i++) {
        lines.add(
            "%s = torch.contiguous(torch.slice(all, 1, %d, %d, 1))"
                .formatted(parts.get(i), begin, begin + sizes[i]));
        begin += sizes[i];
      }
    }
  }

  // --- backward -------------------------------------------------------------------------------

  /** Of dy, x1 and what {@link #after} kept. */
  private Described afterGradients() {
    List<String> takes = new ArrayList<>(List.of("dy", "o"));
    List<String> kept = new ArrayList<>(after(false).results());
    takes.addAll(kept);
    takes.add("nf");
    if (outerNorms()) {
      takes.addAll(List.of("na", "no"));
    }
    takes.addAll(output.backwardOperands());
    takes.addAll(inner.backwardOperands());
    takes.addAll(down.backwardOperands());
    List<String> lines = new ArrayList<>(sizes("dy"));
    lines.add("d0 = torch.flatten(dy, 0, 1)");
    lines.add("dd = d0");
    if (outerNorms()) {
      normGradient(lines, "n1", "dn", "no", "d0", "dd");
    }
    lines.add("ac = " + config.activation().of("g"));
    if (down.trained()) {
      lines.add("a = torch.mul(ac, u)");
    }
    lines.add("dl = " + down.narrow("dd"));
    lines.addAll(down.backward(List.of("dl"), "a", "da"));
    lines.add("du = torch.mul_(ac, da)");
    lines.add("dm = torch.mul_(da, u)");
    lines.add("dg = " + config.activation().gradient("dm", "g"));
    if (inner.trained()) {
      lines.add("h = " + inner.narrow(norm("x1", "nf")));
    }
    joined(lines, inner, List.of("dg", "du"), "h", "dj");
    lines.add("dh = " + inner.wide("dj"));
    normGradient(lines, "n2", "x1", "nf", "dh", "dx2");
    lines.add("dx = torch.add_(dx2, d0)");
    lines.add("do1 = dx");
    if (outerNorms()) {
      normGradient(lines, "n3", "ao", "na", "dx", "do1");
    }
    lines.add("of = torch.flatten(" + toProducts("o") + ", 0, 1)");
    lines.add("do2 = " + output.narrow("do1"));
    lines.addAll(output.backward(List.of("do2"), "of", "do0"));
    lines.add("do = torch.reshape(" + fromProducts("do0") + ", [b, n, -1])");
    List<String> gives = new ArrayList<>(List.of("do", "dx"));
    gives.addAll(output.gradients());
    gives.addAll(inner.gradients());
    gives.addAll(down.gradients());
    return described(takes, lines, gives);
  }

  /** Of x, the gradients of x past attention and of q, k, v, and what {@link #before} kept. */
  private Described beforeGradients(boolean whole) {
    List<String> takes = new ArrayList<>(List.of("x", "dx1", "dq", "dk", "dv"));
    takes.addAll(before().results().subList(3, before().results().size()));
    takes.addAll(List.of("c", "s", "ni"));
    if (headNorms()) {
      takes.addAll(List.of("nq", "nk"));
    }
    takes.addAll(inputs.backwardOperands());
    List<String> lines = new ArrayList<>(sizes("x"));
    lines.add("sn = torch.neg(s)");
    for (String part : List.of("q", "k")) {
      String heads = ", [b, n, -1, " + config.headSize() + "])";
      String above = halfAttention() ? inputs.wide("d" + part) : "d" + part;
      lines.add("%s1 = torch.reshape(%s%s".formatted(part, above, heads));
      // Turned back: the transpose of a rotation.
      lines.addAll(config.rotary().statements(part + "1", "c", "sn", part + "2"));
      lines.add(part + "3 = " + part + "2");
      if (headNorms()) {
        lines.add("%s4 = torch.reshape(%s%s".formatted(part, inputs.wide(part + "0"), heads));
        normGradient(lines, "n" + part + "x", part + "4", "n" + part, part + "2", part + "3");
      }
      lines.add(
          "%s5 = torch.reshape(%s, [torch.mul(b, n), -1])"
              .formatted(part, inputs.narrow(part + "3")));
    }
    lines.add("v5 = torch.reshape(" + toProducts("dv") + ", [torch.mul(b, n), -1])");
    if (inputs.trained()) {
      lines.add("h = torch.flatten(" + inputs.narrow(norm("x", "ni")) + ", 0, 1)");
    }
    List<String> gives = new ArrayList<>();
    joined(lines, inputs, List.of("q5", "k5", "v5"), "h", whole ? "dj" : null);
    if (whole) {
      lines.add("dh = " + inputs.wide("dj"));
      lines.add("xf = torch.flatten(x, 0, 1)");
      normGradient(lines, "n4", "xf", "ni", "dh", "dx2");
      lines.add("dx = torch.reshape(torch.add_(dx2, dx1), [b, n, -1])");
      gives.add("dx");
    }
    gives.addAll(inputs.gradients());
    return described(takes, lines, gives);
  }

  private static void joined(
      List<String> lines,
      ProductText product,
      List<String> above,
      String x,
      @Nullable String below) {
    if (product.ranks().size() == 1) {
      lines.add(product.name() + "d = torch.cat([" + String.join(", ", above) + "], 1)");
      lines.addAll(product.backward(List.of(product.name() + "d"), x, below));
    } else {
      lines.addAll(product.backward(above, x, below));
    }
  }

  // --- pieces ---------------------------------------------------------------------------------

  private static List<String> sizes(String x) {
    return List.of("b = torch.size(" + x + ", 0)", "n = torch.size(" + x + ", 1)");
  }

  private String norm(String x, String weight) {
    return Ops.rmsNorm(x, weight, config.epsilon(), config.options().shiftedNorms());
  }

  /** Makes the gradient of x of that of its norm, with a prefix for other variables. */
  private void normGradient(
      List<String> lines, String prefix, String x, String weight, String above, String below) {
    String factor = config.options().shiftedNorms() ? "torch.add(" + weight + ", 1)" : weight;
    lines.add(
        "%1$sr = torch.rsqrt(torch.add(torch.mean(torch.pow(%2$s, 2), [-1], True), %3$s))"
            .formatted(prefix, x, config.epsilon()));
    lines.add("%1$sx = torch.mul(%2$s, %1$sr)".formatted(prefix, x));
    lines.add("%1$sd = torch.mul(%2$s, %3$s)".formatted(prefix, above, factor));
    lines.add("%1$sm = torch.mean(torch.mul(%1$sd, %1$sx), [-1], True)".formatted(prefix));
    lines.add("_ = torch.sub_(%1$sd, torch.mul_(%1$sx, %1$sm))".formatted(prefix));
    lines.add("%2$s = torch.mul_(%1$sd, %1$sr)".formatted(prefix, below));
  }

  private static Described described(List<String> takes, List<String> lines, List<String> gives) {
    List<String> body = new ArrayList<>(lines);
    // A tuple of none or one would not be one.
    List<String> results = new ArrayList<>(gives);
    while (results.size() < 2) {
      results.add("b0");
    }
    if (results.contains("b0")) {
      body.add("b0 = torch.zeros_like(c)");
    }
    body.add("return (" + String.join(", ", results) + ")");
    String signature =
        String.join(", ", takes.stream().map(name -> name + ": Tensor").toList())
            + " -> Tuple["
            + String.join(", ", results.stream().map(name -> "Tensor").toList())
            + "]";
    return new Described(Kernel.of(signature, body.toArray(String[]::new)), List.copyOf(gives));
  }
}
