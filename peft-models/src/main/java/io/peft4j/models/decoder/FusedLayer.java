package io.peft4j.models.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import io.peft4j.models.CausalContext;
import io.peft4j.nn.FusedLinear;
import io.peft4j.nn.FusedLinear.Form;
import io.peft4j.nn.FusedLinear.Operands;
import io.peft4j.nn.Join;
import io.peft4j.nn.Pass;
import io.peft4j.nn.RmsNorm;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Kernel;
import io.peft4j.torch.Ops;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A decoder layer as one kernel, for passes of few rows over a cache, which are bound by reading
 * the weights and by the cost of calls. Projections with a common input are one product, and
 * low-rank adapters are part of it. Computes what {@link DecoderLayer} computes, which remains for
 * all else.
 */
final class FusedLayer {
  private static final Map<Variant, Kernel> KERNELS = new ConcurrentHashMap<>();

  private final LayerConfig config;
  private final int index;
  private final int window;
  private final List<RmsNorm> norms;
  private final List<FusedLinear> products;
  private final List<Join> joins;

  private record Variant(LayerConfig config, List<Form> forms, boolean masked, int window) {}

  FusedLayer(
      ModelLayout layout,
      LayerNames names,
      int index,
      int window,
      LayerConfig config,
      Norms norms,
      List<Join> joins) {
    this.joins = joins;
    this.config = config;
    this.index = index;
    this.window = window;
    this.norms = norms.list();
    products =
        List.of(
            new FusedLinear(layout, names.inputs().toArray(String[]::new)),
            new FusedLinear(layout, names.attentionOutput()),
            new FusedLinear(layout, names.inner().toArray(String[]::new)),
            new FusedLinear(layout, names.down()));
  }

  /** The layer's norms: two always, two of heads or none, two of outputs or none. */
  record Norms(
      RmsNorm input,
      RmsNorm inner,
      @Nullable RmsNorm query,
      @Nullable RmsNorm key,
      @Nullable RmsNorm attention,
      @Nullable RmsNorm output) {

    List<RmsNorm> list() {
      return Stream.concat(
              Stream.of(input, inner),
              Stream.of(query, key, attention, output).filter(norm -> norm != null))
          .toList();
    }

    /** The variables of a kernel, in the order of {@link #list}. */
    static List<String> variables(LayerConfig.Options options) {
      List<String> names = new ArrayList<>(List.of("ni", "nf"));
      if (options.headNorms()) {
        names.addAll(List.of("nq", "nk"));
      }
      if (options.outerNorms()) {
        names.addAll(List.of("na", "no"));
      }
      return names;
    }
  }

  /** The arrays of the layer in the order that the kernel takes them, and the forms of products. */
  record Prepared(List<Form> forms, List<NDArray> operands) {}

  /** What {@link #collect} gave, null included. */
  private record Collected(@Nullable Prepared prepared) {}

  /** The operands for a pass, collected once; null if the layer cannot be computed so. */
  @Nullable Prepared prepare(Pass pass) {
    return pass.derive(this, Collected.class, () -> new Collected(collect(pass))).prepared();
  }

  private @Nullable Prepared collect(Pass pass) {
    List<Form> forms = new ArrayList<>();
    List<NDArray> operands = new ArrayList<>();
    // The kernel adds the residual by itself, so nothing else may act there.
    if (!joins.stream().allMatch(join -> join.isPlain(pass))) {
      return null;
    }
    // All or none: packs that nothing uses would stay.
    if (!products.stream().allMatch(product -> product.fits(pass))) {
      return null;
    }
    for (RmsNorm norm : norms) {
      NDArray weight = norm.plainWeight(pass);
      if (weight == null) {
        return null;
      }
      operands.add(weight);
    }
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
    CausalContext.CacheView cache = context.cacheView(index, window);
    Variant variant = new Variant(config, prepared.forms, cache.mask() != null, cache.window());
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
    LayerConfig config = variant.config;
    List<String> names = new ArrayList<>(List.of("x", "c", "sn", "kc", "vc", "p"));
    if (variant.masked) {
      names.add("m");
    }
    names.addAll(Norms.variables(config.options()));
    String[] products = {"qkv", "ao", "gu", "dn"};
    for (int i = 0; i < products.length; i++) {
      names.addAll(variant.forms.get(i).names(products[i]));
    }
    List<String> lines = new ArrayList<>();
    lines.add("b = torch.size(x, 0)");
    lines.add("n = torch.size(x, 1)");
    lines.add("h1 = " + norm(config, "x", "ni"));
    lines.addAll(variant.forms.get(0).statements(products[0], "h1", "qkv"));
    lines.addAll(turned(config));
    lines.addAll(config.attention().cachedStatements(variant.masked, true, variant.window));
    lines.addAll(variant.forms.get(1).statements(products[1], "o", "ao"));
    boolean outer = config.options().outerNorms();
    lines.add("x1 = torch.add(x, " + (outer ? norm(config, "ao", "na") : "ao") + ")");
    lines.add("h2 = " + norm(config, "x1", "nf"));
    lines.addAll(variant.forms.get(2).statements(products[2], "h2", "gu"));
    int size = config.intermediate();
    lines.add("u0 = " + slice("gu", 0, size));
    lines.add(
        "u1 = torch.mul("
            + config.activation().of("u0")
            + ", "
            + slice("gu", size, 2 * size)
            + ")");
    lines.addAll(variant.forms.get(3).statements(products[3], "u1", "dn"));
    lines.add("return torch.add(x1, " + (outer ? norm(config, "dn", "no") : "dn") + ")");
    String signature =
        String.join(", ", names.stream().map(name -> name + ": Tensor").toList()) + " -> Tensor";
    return Kernel.of(signature, lines.toArray(String[]::new));
  }

  /** Makes qh, kh and vh of qkv, the first two turned: [batch, length, heads, size]. */
  private static List<String> turned(LayerConfig config) {
    int heads = config.heads();
    int keys = config.keyValueHeads();
    List<String> lines = new ArrayList<>();
    lines.add("z = torch.reshape(qkv, [b, n, " + (heads + 2 * keys) + ", -1])");
    if (config.options().headNorms()) {
      lines.add("zq = " + slice("z", 0, heads));
      lines.add("zk = " + slice("z", heads, heads + keys));
      lines.add(
          "zt = torch.cat(["
              + norm(config, "zq", "nq")
              + ", "
              + norm(config, "zk", "nk")
              + "], 2)");
    } else {
      lines.add("zt = " + slice("z", 0, heads + keys));
    }
    lines.addAll(config.rotary().statements("zt", "c", "sn", "r"));
    lines.add("qh = " + slice("r", 0, heads));
    lines.add("kh = " + slice("r", heads, heads + keys));
    lines.add("vh = " + slice("z", heads + keys, heads + 2 * keys));
    return lines;
  }

  private static String slice(String x, int begin, int end) {
    return "torch.slice(" + x + ", 2, " + begin + ", " + end + ", 1)";
  }

  private static String norm(LayerConfig config, String x, String weight) {
    return Ops.rmsNorm(x, weight, config.epsilon(), config.options().shiftedNorms());
  }
}
