package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDArrays;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Scopes;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Linear layers with a common input as one product of few rows, with the low-rank products of the
 * adapters that act: a piece of a kernel that computes several layers in one call. Holds no arrays;
 * what it puts together belongs to the weights or to the pass.
 */
public final class FusedLinear {
  /**
   * From about so many rows on, products are bound by arithmetic and layers better by themselves.
   */
  public static final int MOST_ROWS = FewRows.MOST_ROWS;

  private final ModelLayout layout;
  private final List<LayerSpec> layers;
  private final long in;
  private final long[] outs;

  /**
   * Describes the product.
   *
   * @param layout the model's layout
   * @param paths paths of linear layers that are given the same input
   */
  public FusedLinear(ModelLayout layout, String... paths) {
    this.layout = layout;
    layers = List.of(paths).stream().map(path -> layout.layer(path).orElseThrow()).toList();
    in = shape(0).get(1);
    outs = new long[layers.size()];
    for (int i = 0; i < outs.length; i++) {
      outs[i] = shape(i).get(0);
    }
  }

  private Shape shape(int layer) {
    return Objects.requireNonNull(layout.parameters().get(layers.get(layer).weightName()));
  }

  /**
   * The arrays of the product, and how a kernel computes with them.
   *
   * @param form how it computes
   * @param operands arrays that the kernel is given, in this order; not the caller's
   */
  public record Operands(Form form, List<NDArray> operands) {}

  /**
   * How a kernel computes a product. Equal forms have equal statements.
   *
   * @param packing how all weights are one pack; null if they are not
   * @param weights how many weights there are if they are not
   * @param bias whether there is a bias
   * @param lowRank whether low-rank products act
   * @param byRow whether each row of the batch has its own
   */
  public record Form(
      @Nullable RowPacking packing, int weights, boolean bias, boolean lowRank, boolean byRow) {

    /**
     * The names under which a kernel is given the operands.
     *
     * @param name a prefix
     * @return one name for each operand
     */
    public List<String> names(String name) {
      List<String> names = new ArrayList<>();
      names.addAll(weightNames(name));
      if (bias) {
        names.add(name + "b");
      }
      if (lowRank) {
        names.add(name + "l0");
        names.add(name + "l1");
      }
      return names;
    }

    private List<String> weightNames(String name) {
      int count = packing == null ? weights : packing.operands();
      return IntStream.range(0, count).mapToObj(i -> name + "w" + i).toList();
    }

    /**
     * Statements of a kernel.
     *
     * @param name the prefix that was given to {@link #names}, also of variables that are made
     * @param x a variable, float32 [batch, length, in]
     * @param y the variable to make, float32 [batch, length, outs together]
     * @return the statements
     */
    public List<String> statements(String name, String x, String y) {
      List<String> lines = new ArrayList<>();
      List<String> factors = weightNames(name);
      List<String> parts =
          packing == null
              ? factors.stream().map(factor -> "torch.linear(" + x + ", " + factor + ")").toList()
              : List.of(packing.product(x, factors));
      lines.add(
          y
              + " = "
              + (parts.size() == 1
                  ? parts.get(0)
                  : "torch.cat([" + String.join(", ", parts) + "], -1)"));
      if (bias) {
        lines.add(y + " = torch.add_(" + y + ", " + name + "b)");
      }
      if (lowRank && byRow) {
        lines.add(name + "t = torch.bmm(" + x + ", torch.transpose(" + name + "l0, 1, 2))");
        lines.add(
            y
                + " = torch.baddbmm("
                + y
                + ", "
                + name
                + "t, torch.transpose("
                + name
                + "l1, 1, 2))");
      } else if (lowRank) {
        lines.add(name + "t = torch.linear(" + x + ", " + name + "l0)");
        lines.add(y + " = torch.add_(" + y + ", torch.linear(" + name + "t, " + name + "l1))");
      }
      return lines;
    }
  }

  /** Weights and biases together, which belong to a snapshot; no arrays if that is no way. */
  private record Base(@Nullable RowPacking packing, List<NDArray> arrays, List<NDArray> owned)
      implements AutoCloseable {
    @Override
    public void close() {
      owned.forEach(NDArray::close);
    }
  }

  /**
   * Tells whether what acts at the layers can be part of the product.
   *
   * @param pass weights and adapters
   * @return false if an adapter brings its own weights or acts in a way that is no low-rank product
   */
  public boolean fits(Pass pass) {
    for (LayerSpec layer : layers) {
      if (!LowRankStack.fits(pass, layer) || overridden(pass, layer)) {
        return false;
      }
    }
    return true;
  }

  /**
   * Puts the product together.
   *
   * @param pass weights and adapters that {@linkplain #fits fit}
   * @return the operands, good for as long as the pass; null if the weights can neither be packed
   *     together nor used as they are held
   */
  public @Nullable Operands operands(Pass pass) {
    Base base = pass.weights().derived().get(this, Base.class, () -> base(pass.weights()));
    if (base.arrays.isEmpty()) {
      return null;
    }
    LowRankStack stack =
        pass.derive(this, LowRankStack.class, () -> LowRankStack.of(pass, layers, in, outs));
    List<NDArray> operands = new ArrayList<>(base.arrays);
    if (stack.a() != null && stack.b() != null) {
      operands.add(stack.a());
      operands.add(stack.b());
    }
    boolean bias = layers.stream().anyMatch(LayerSpec::bias);
    return new Operands(
        new Form(base.packing, layers.size(), bias, stack.acts(), stack.byRow()),
        List.copyOf(operands));
  }

  private boolean overridden(Pass pass, LayerSpec layer) {
    int weight = layout.parameterIndex(layer.weightName());
    int bias = layer.bias() ? layout.parameterIndex(layer.biasName()) : -1;
    for (Segment segment : pass.segments()) {
      if (segment.override(weight) != null || segment.override(bias) != null) {
        return true;
      }
    }
    return false;
  }

  private Base base(WeightSnapshot snapshot) {
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      List<Weight> weights =
          layers.stream()
              .map(layer -> snapshot.weight(layout.parameterIndex(layer.weightName())))
              .toList();
      List<NDArray> arrays = new ArrayList<>();
      List<NDArray> owned = new ArrayList<>();
      RowPacking packing = packing(weights);
      List<NDArray> pack = packing == null ? null : packing.pack(weights);
      if (pack != null) {
        arrays.addAll(pack);
        owned.addAll(pack);
      } else if (weights.stream().allMatch(Weight::holdsFloat32)) {
        weights.forEach(weight -> arrays.add(weight.dense()));
      } else {
        return new Base(null, List.of(), List.of());
      }
      boolean bias = layers.stream().anyMatch(LayerSpec::bias);
      if (bias) {
        NDArray all = Scopes.unmanaged(biases(snapshot, arrays.get(0).getManager()));
        arrays.add(all);
        owned.add(all);
      }
      return new Base(pack == null ? null : packing, arrays, owned);
    }
  }

  /**
   * The way that all weights are packed; where they differ, the one that all that pack can take.
   */
  private static @Nullable RowPacking packing(List<Weight> weights) {
    RowPacking first = weights.get(0).rowPacking();
    if (weights.stream().anyMatch(weight -> weight.rowPacking() == null)) {
      return null;
    }
    return weights.stream().allMatch(weight -> weight.rowPacking() == first)
        ? first
        : RowPacking.half();
  }

  private NDArray biases(WeightSnapshot snapshot, NDManager manager) {
    NDList parts = new NDList();
    for (int i = 0; i < outs.length; i++) {
      LayerSpec layer = layers.get(i);
      parts.add(
          layer.bias()
              ? snapshot.weight(layout.parameterIndex(layer.biasName())).dense()
              : manager.zeros(new Shape(outs[i]), DataType.FLOAT32));
    }
    return NDArrays.concat(parts).duplicate();
  }
}
