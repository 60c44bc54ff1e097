package io.peft4j.models.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDScope;
import io.peft4j.models.CausalContext;
import io.peft4j.models.PackedSequences;
import io.peft4j.nn.Join;
import io.peft4j.nn.Linear;
import io.peft4j.nn.LowRankLinear;
import io.peft4j.nn.Pass;
import io.peft4j.nn.RmsNorm;
import io.peft4j.nn.Weight;
import io.peft4j.torch.Ops;
import io.peft4j.torch.PackedAttention;
import io.peft4j.torch.Precision;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A decoder layer in a training step whose gradients are computed by hand: over a frozen base the
 * backward pass is the gradient of the input and those of A and B, and nothing is kept that it does
 * not use. Kept are the input, queries, keys and values as attention took them, what it gave, the
 * residual past attention, the two halves of the feed-forward network, and the products with A;
 * what is cheap (norms, activations, angles) is computed again. Holds no arrays.
 */
final class LayerStep {
  private final LayerConfig config;
  private final int window;
  private final Linears linears;
  private final FusedLayer.Norms norms;
  private final List<Join> joins;

  /** The layer's projections, by what they are given. */
  record Linears(List<Linear> inputs, Linear output, List<Linear> inner, Linear down) {
    Stream<Linear> all() {
      return Stream.of(inputs, List.of(output), inner, List.of(down)).flatMap(List::stream);
    }
  }

  LayerStep(
      LayerConfig config, int window, Linears linears, FusedLayer.Norms norms, List<Join> joins) {
    this.joins = joins;
    this.config = config;
    this.window = window;
    this.linears = linears;
    this.norms = norms;
  }

  /** Why the gradients of this layer cannot be computed so; null if they can. */
  @Nullable String obstacle(Pass pass) {
    if (pass.dropout() && (config.attentionDropout() > 0 || config.residualDropout() > 0)) {
      return "the model has dropout";
    }
    List<Precision> precisions = new ArrayList<>();
    for (Linear linear : linears.all().toList()) {
      String obstacle = LowRankLinear.obstacle(pass, linear);
      if (obstacle != null) {
        return linear.spec().path() + ": " + obstacle;
      }
      precisions.add(Objects.requireNonNull(new LowRankLinear(pass, List.of(linear)).precision()));
    }
    if (precisions.stream().distinct().count() > 1) {
      return "the weights of a layer are not all computed in the same type";
    }
    for (RmsNorm norm : norms.list()) {
      if (norm.untouched(pass) == null) {
        return norm.spec().path() + ": an adapter acts on the norm";
      }
    }
    for (Join join : joins) {
      if (!join.isPlain(pass)) {
        return join.path() + ": an adapter acts where the sub-layer joins the residual";
      }
    }
    return null;
  }

  /** What acts in this pass. */
  private record Prepared(
      List<LowRankLinear> products, List<Weight> norms, LayerText.Kernels kernels) {

    LowRankLinear product(int index) {
      return products.get(index);
    }

    void norms(List<NDArray> operands, int... chosen) {
      for (int index : chosen) {
        operands.add(norms.get(index).dense());
      }
    }
  }

  private Prepared prepare(Pass pass) {
    List<LowRankLinear> products =
        Stream.of(linears.inputs, List.of(linears.output), linears.inner, List.of(linears.down))
            .map(layers -> new LowRankLinear(pass, layers))
            .toList();
    boolean half = products.get(0).precision() == Precision.BFLOAT16;
    LayerText text =
        new LayerText(
            config,
            ProductText.of("qkv", products.get(0), half),
            ProductText.of("out", products.get(1), half),
            ProductText.of("inn", products.get(2), half),
            ProductText.of("dwn", products.get(3), half));
    List<Weight> weights =
        norms.list().stream().map(norm -> Objects.requireNonNull(norm.untouched(pass))).toList();
    return new Prepared(products, weights, text.kernels());
  }

  /**
   * The weights of a call, each made when it is first needed: those that are stored in fewer bits
   * are unpacked once, and dropped with the scope in which that was done.
   */
  private static final class Unpacked {
    private final Prepared prepared;
    private final Map<Integer, List<NDArray>> made = new HashMap<>();

    Unpacked(Prepared prepared) {
      this.prepared = prepared;
    }

    List<NDArray> of(int product) {
      return made.computeIfAbsent(product, index -> prepared.product(index).weights());
    }
  }

  private Prepared prepared(Pass pass) {
    return pass.derive(this, Prepared.class, () -> prepare(pass));
  }

  /** Tells whether an adapter that is trained acts in this layer. */
  boolean trained(Pass pass) {
    return prepared(pass).products.stream().anyMatch(LowRankLinear::trained);
  }

  /**
   * What the backward pass needs, but for the input.
   *
   * @param before of {@link LayerText#kernels}: q, k, v, and more
   * @param attention what {@link io.peft4j.torch.Attention#attendKeeping} gave
   * @param after the residual past attention, and more
   */
  record Kept(NDList before, NDList attention, NDList after) implements AutoCloseable {
    void unregister() {
      NDScope.unregister(before);
      NDScope.unregister(attention);
      NDScope.unregister(after);
    }

    @Override
    public void close() {
      before.close();
      attention.close();
      after.close();
    }
  }

  /** The output, and what was kept if it was to be. Neither belongs to a scope. */
  record Result(NDArray output, @Nullable Kept kept) {}

  Result forward(Pass pass, NDArray x, NDList rotations, CausalContext context, boolean keep) {
    try (NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      NDList all = new NDList();
      Prepared prepared = prepared(pass);
      Kept kept = run(prepared, new Unpacked(prepared), x, rotations, context, null, all);
      NDArray output = all.head();
      NDScope.unregister(output);
      if (keep) {
        kept.unregister();
      }
      return new Result(output, keep ? kept : null);
    }
  }

  /** Tells whether {@link #read} is the way for passes of many tokens that record nothing. */
  boolean readable(Pass pass) {
    return pass.derive(linears, Readable.class, () -> new Readable(reads(pass))).yes();
  }

  private record Readable(boolean yes) {}

  /** In float32 there is nothing to gain. */
  private boolean reads(Pass pass) {
    return obstacle(pass) == null
        && new LowRankLinear(pass, linears.inputs).precision() == Precision.BFLOAT16;
  }

  /**
   * The output alone, with the cache if there is one: what is between products stays in bfloat16,
   * where the layers one by one widen the result of each.
   */
  NDArray read(Pass pass, NDArray x, NDList rotations, CausalContext context, int index) {
    Prepared prepared = prepared(pass);
    NDList output = new NDList();
    Attending attending =
        context.cached() ? before -> attendCached(prepared, before, context, index) : null;
    run(prepared, new Unpacked(prepared), x, rotations, context, attending, output);
    prepared.products.forEach(LowRankLinear::weightsRead);
    return output.head();
  }

  private NDList attendCached(Prepared prepared, NDList before, CausalContext context, int index) {
    boolean half = prepared.kernels.attention() == Precision.BFLOAT16;
    List<NDArray> wide =
        before.subList(0, 3).stream().map(x -> half ? Ops.toFloat32(x) : x).toList();
    NDArray seen =
        context.attend(index, config.attention(), wide.get(0), wide.get(1), wide.get(2), window, 0);
    return new NDList(half ? Ops.toBfloat16(seen) : seen);
  }

  /** Attention over q, k and v. */
  private interface Attending {
    NDList attend(NDList before);
  }

  /** Computes; attention without cache if no other is given; the output goes into a list if any. */
  private Kept run(
      Prepared prepared,
      Unpacked weights,
      NDArray x,
      NDList rotations,
      CausalContext context,
      @Nullable Attending attending,
      @Nullable NDList output) {
    boolean headNorms = config.options().headNorms();
    boolean outerNorms = config.options().outerNorms();
    List<NDArray> operands = new ArrayList<>(List.of(x, rotations.get(0), rotations.get(1)));
    prepared.norms(operands, 0);
    if (headNorms) {
      prepared.norms(operands, 2, 3);
    }
    forwardOperands(operands, weights.of(0), prepared.product(0));
    NDList before = call(prepared.kernels.before(), operands);
    NDList attention =
        attending == null ? attend(prepared, before, context) : attending.attend(before);
    operands = new ArrayList<>(List.of(x, attention.get(0)));
    prepared.norms(operands, 1);
    if (outerNorms) {
      prepared.norms(operands, outer(0), outer(1));
    }
    for (int i = 1; i < prepared.products.size(); i++) {
      forwardOperands(operands, weights.of(i), prepared.product(i));
    }
    if (output == null) {
      return new Kept(before, attention, call(prepared.kernels.again(), operands));
    }
    NDList after = call(prepared.kernels.after(), operands);
    output.add(after.head());
    return new Kept(before, attention, after.subNDList(1));
  }

  private @Nullable PackedAttention packed(Prepared prepared, CausalContext context) {
    PackedSequences sequences = context.sequences(window);
    return sequences == null
        ? null
        : new PackedAttention(config.attention(), prepared.kernels.attention(), sequences.bounds());
  }

  private NDList attend(Prepared prepared, NDList before, CausalContext context) {
    NDArray query = before.get(0);
    NDArray key = before.get(1);
    NDArray value = before.get(2);
    PackedAttention packed = packed(prepared, context);
    return packed != null
        ? packed.attendKeeping(query, key, value)
        : config
            .attention()
            .attendKeeping(prepared.kernels.attention(), query, key, value, context.mask(window));
  }

  private NDList attentionGradients(
      Prepared prepared, Kept kept, CausalContext context, NDArray above) {
    NDArray query = kept.before.get(0);
    NDArray key = kept.before.get(1);
    NDArray value = kept.before.get(2);
    PackedAttention packed = packed(prepared, context);
    return packed != null
        ? packed.gradients(query, key, value, kept.attention, above)
        : config
            .attention()
            .gradients(
                prepared.kernels.attention(),
                query,
                key,
                value,
                context.mask(window),
                kept.attention,
                above);
  }

  /** The place of an outer norm in the list of norms. */
  private int outer(int which) {
    return (config.options().headNorms() ? 4 : 2) + which;
  }

  private static void forwardOperands(
      List<NDArray> operands, List<NDArray> weights, LowRankLinear product) {
    operands.addAll(weights);
    operands.addAll(product.biases());
    factors(operands, product);
  }

  private static void factors(List<NDArray> operands, LowRankLinear product) {
    List<NDArray> b = product.b();
    if (!b.isEmpty()) {
      operands.add(product.a());
      operands.addAll(b);
    }
  }

  private static NDList call(LayerText.Described kernel, List<NDArray> operands) {
    return kernel.kernel().callMany(operands.toArray(NDArray[]::new));
  }

  /**
   * Adds the gradients of the adapters.
   *
   * @param x the layer's input
   * @param kept what was kept; closed. Null to compute it again
   * @param above the gradient of the output; closed
   * @param whole whether the gradient of the input is wanted
   * @return the gradient of the input, which belongs to no scope; null if it is not wanted
   */
  @Nullable NDArray backward(
      Pass pass,
      NDArray x,
      NDList rotations,
      CausalContext context,
      @Nullable Kept kept,
      NDArray above,
      boolean whole) {
    Prepared prepared = prepared(pass);
    Unpacked weights = new Unpacked(prepared);
    try (NDScope scope = new NDScope();
        Kept all = kept == null ? run(prepared, weights, x, rotations, context, null, null) : kept) {
      scope.suppressNotUsedWarning();
      NDList results = afterGradients(prepared, weights, all, above);
      above.close();
      int next = 2;
      for (int i = 1; i < prepared.products.size(); i++) {
        next = accumulate(prepared.product(i), results, next);
      }
      if (!whole && !prepared.product(0).trained()) {
        return null;
      }
      NDList below = attentionGradients(prepared, all, context, results.get(0));
      List<NDArray> operands = new ArrayList<>(List.of(x, results.get(1)));
      operands.addAll(below);
      operands.addAll(all.before.subList(3, all.before.size()));
      operands.addAll(rotations);
      prepared.norms(operands, 0);
      if (config.options().headNorms()) {
        prepared.norms(operands, 2, 3);
      }
      operands.addAll(weights.of(0));
      factors(operands, prepared.product(0));
      LayerText.Kernels kernels = prepared.kernels;
      NDList last = call(whole ? kernels.beforeGradients() : kernels.lastGradients(), operands);
      accumulate(prepared.product(0), last, whole ? 1 : 0);
      if (!whole) {
        return null;
      }
      NDScope.unregister(last.head());
      return last.head();
    }
  }

  private NDList afterGradients(Prepared prepared, Unpacked weights, Kept kept, NDArray above) {
    List<NDArray> operands = new ArrayList<>(List.of(above, kept.attention.get(0)));
    operands.addAll(kept.after);
    prepared.norms(operands, 1);
    if (config.options().outerNorms()) {
      prepared.norms(operands, outer(0), outer(1));
    }
    for (int i = 1; i < prepared.products.size(); i++) {
      operands.addAll(weights.of(i));
      factors(operands, prepared.product(i));
    }
    return call(prepared.kernels.afterGradients(), operands);
  }

  /** Takes the gradients of a product from results; returns where those of the next begin. */
  private static int accumulate(LowRankLinear product, NDList results, int from) {
    if (!product.trained()) {
      return from;
    }
    int layers = (int) product.ranks().stream().filter(rank -> rank > 0).count();
    product.accumulate(results.get(from), results.subList(from + 1, from + 1 + layers));
    return from + 1 + layers;
  }
}
