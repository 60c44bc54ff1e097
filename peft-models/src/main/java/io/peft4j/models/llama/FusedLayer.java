package io.peft4j.models.llama;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import io.peft4j.models.CausalContext;
import io.peft4j.nn.FusedLinear;
import io.peft4j.nn.FusedLinear.Form;
import io.peft4j.nn.FusedLinear.Operands;
import io.peft4j.nn.Pass;
import io.peft4j.nn.RmsNorm;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Attention;
import io.peft4j.torch.Kernel;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * A decoder layer as one kernel, for passes of few rows over a cache, which are bound by reading
 * the weights and by the cost of calls. Projections with a common input are one product, and
 * low-rank adapters are part of it. Computes what {@link LlamaLayer} computes, which remains for
 * all else.
 */
final class FusedLayer {
  private static final Map<Variant, Kernel> KERNELS = new ConcurrentHashMap<>();

  private final LlamaConfig config;
  private final int index;
  private final RmsNorm inputNorm;
  private final RmsNorm innerNorm;
  private final List<FusedLinear> products;

  private record Variant(
      LlamaConfig config, List<Form> forms, boolean masked, boolean single, int window) {}

  FusedLayer(
      ModelLayout layout,
      String path,
      int index,
      LlamaConfig config,
      RmsNorm inputNorm,
      RmsNorm innerNorm) {
    this.config = config;
    this.index = index;
    this.inputNorm = inputNorm;
    this.innerNorm = innerNorm;
    String attention = path + ".self_attn.";
    String mlp = path + ".mlp.";
    products =
        List.of(
            new FusedLinear(
                layout, attention + "q_proj", attention + "k_proj", attention + "v_proj"),
            new FusedLinear(layout, attention + "o_proj"),
            new FusedLinear(layout, mlp + "gate_proj", mlp + "up_proj"),
            new FusedLinear(layout, mlp + "down_proj"));
  }

  /** The arrays of the layer in the order that the kernel takes them, and the forms of products. */
  record Prepared(List<Form> forms, List<NDArray> operands) {}

  /**
   * Collects the operands; null if the adapters of the pass act in ways that this cannot compute.
   */
  @Nullable Prepared prepare(Pass pass) {
    NDArray first = inputNorm.plainWeight(pass);
    NDArray second = innerNorm.plainWeight(pass);
    if (first == null || second == null) {
      return null;
    }
    List<Form> forms = new ArrayList<>();
    List<NDArray> operands = new ArrayList<>(List.of(first, second));
    for (FusedLinear product : products) {
      Operands found = product.operands(pass);
      if (found == null) {
        return null;
      }
      forms.add(found.form());
      operands.addAll(found.operands());
    }
    return new Prepared(List.copyOf(forms), operands);
  }

  NDArray forward(Prepared prepared, NDArray x, NDList rotations, CausalContext context) {
    CausalContext.CacheView cache = context.cacheView(index, 0);
    Variant variant =
        new Variant(
            config, prepared.forms, cache.mask() != null, x.getShape().get(1) == 1, cache.window());
    Kernel kernel = KERNELS.computeIfAbsent(variant, FusedLayer::kernel);
    List<NDArray> inputs = new ArrayList<>();
    inputs.add(x);
    inputs.addAll(rotations);
    inputs.add(cache.keys());
    inputs.add(cache.values());
    inputs.add(cache.past());
    if (cache.mask() != null) {
      inputs.add(cache.mask());
    }
    inputs.addAll(prepared.operands);
    return kernel.call(inputs.toArray(NDArray[]::new));
  }

  private static Kernel kernel(Variant variant) {
    LlamaConfig config = variant.config;
    List<String> names = new ArrayList<>(List.of("x", "c", "s0", "kc", "vc", "p"));
    if (variant.masked) {
      names.add("m");
    }
    names.addAll(List.of("g1", "g2"));
    String[] products = {"qkv", "ao", "gu", "dn"};
    for (int i = 0; i < products.length; i++) {
      names.addAll(variant.forms.get(i).names(products[i]));
    }
    int heads = config.heads();
    int keys = config.keyValueHeads();
    int half = config.headSize() / 2;
    List<String> lines = new ArrayList<>();
    lines.add("b = torch.size(x, 0)");
    lines.add("n = torch.size(x, 1)");
    lines.add(norm("x", "g1", "h1", config.epsilon()));
    lines.addAll(variant.forms.get(0).statements(products[0], "h1", "qkv"));
    lines.add("z = torch.reshape(qkv, [b, n, " + (heads + 2 * keys) + ", -1])");
    lines.add(
        "z1 = torch.slice(torch.slice(z, 2, 0, " + (heads + keys) + ", 1), 3, 0, " + half + ", 1)");
    lines.add(
        "z2 = torch.slice(torch.slice(z, 2, 0, "
            + (heads + keys)
            + ", 1), 3, "
            + half
            + ", "
            + 2 * half
            + ", 1)");
    lines.add(
        "r = torch.cat([torch.sub(torch.mul(z1, c), torch.mul(z2, s0)),"
            + " torch.add(torch.mul(z2, c), torch.mul(z1, s0))], -1)");
    lines.add("qh = torch.slice(r, 2, 0, " + heads + ", 1)");
    lines.add("kh = torch.slice(r, 2, " + heads + ", " + (heads + keys) + ", 1)");
    lines.add("vh = torch.slice(z, 2, " + (heads + keys) + ", " + (heads + 2 * keys) + ", 1)");
    lines.addAll(
        Attention.of(heads, keys).cachedStatements(variant.masked, variant.single, variant.window));
    lines.addAll(variant.forms.get(1).statements(products[1], "o", "ao"));
    lines.add("x1 = torch.add(x, ao)");
    lines.add(norm("x1", "g2", "h2", config.epsilon()));
    lines.addAll(variant.forms.get(2).statements(products[2], "h2", "gu"));
    int size = config.intermediate();
    lines.add("u1 = torch.silu(torch.slice(gu, 2, 0, " + size + ", 1))");
    lines.add("u2 = torch.mul(u1, torch.slice(gu, 2, " + size + ", " + 2 * size + ", 1))");
    lines.addAll(variant.forms.get(3).statements(products[3], "u2", "dn"));
    lines.add("return torch.add(x1, dn)");
    String signature =
        String.join(", ", names.stream().map(name -> name + ": Tensor").toList()) + " -> Tensor";
    return Kernel.of(signature, lines.toArray(String[]::new));
  }

  private static String norm(String x, String weight, String y, double epsilon) {
    return y
        + " = torch.mul("
        + weight
        + ", torch.mul("
        + x
        + ", torch.rsqrt(torch.add(torch.mean(torch.pow("
        + x
        + ", 2), [-1], True), "
        + epsilon
        + "))))";
  }
}
