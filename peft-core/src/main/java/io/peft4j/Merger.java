package io.peft4j;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDScope;
import io.peft4j.nn.EffectiveWeights;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Kernel;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Scopes;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Computes the weights that take the place of the base's when adapters are merged. */
final class Merger {
  private static final Kernel DISTANCE =
      Kernel.of(
          "a: Tensor, b: Tensor -> Tensor", "return torch.linalg_vector_norm(torch.sub(a, b))");

  private final ModelLayout layout;
  private final WeightSnapshot weights;
  private final Segment segment;
  private final Form form;
  private final Map<Integer, Weight> merged = new HashMap<>();
  private final List<MergeReport.MergedWeight> report = new ArrayList<>();

  /** Copies that are put in place unchanged: tied parameters stay one. */
  private final Map<NDArray, Weight> copies = new IdentityHashMap<>();

  /** What becomes of merged values. */
  enum Form {
    /** They are held as they are. */
    VALUES,
    /** They are held as they are if they are finite; else nothing is merged. */
    FINITE_VALUES,
    /** They are stored as the base's were, if they are finite; else nothing is merged. */
    AS_STORED
  }

  /**
   * Merged weights.
   *
   * @param weights by parameter index, owned by the caller
   * @param report what storing them has added
   */
  record Result(Map<Integer, Weight> weights, List<MergeReport.MergedWeight> report) {}

  private Merger(ModelLayout layout, WeightSnapshot weights, Segment segment, Form form) {
    this.layout = layout;
    this.weights = weights;
    this.segment = segment;
    this.form = form;
  }

  /** Merges; nothing is left behind on error. */
  static Result merge(ModelLayout layout, WeightSnapshot weights, Segment segment, Form form) {
    Merger merger = new Merger(layout, weights, segment, form);
    try (GradMode off = GradMode.off()) {
      merger.run();
      return new Result(merger.merged, merger.report);
    } catch (RuntimeException e) {
      merger.merged.values().stream().distinct().forEach(Weight::close);
      throw e;
    }
  }

  private void run() {
    for (LayerSpec layer : layout.layers()) {
      try (NDScope scope = new NDScope()) {
        put(layer.weightName(), EffectiveWeights.weight(layout, weights, segment, layer));
        if (layer.bias()) {
          put(layer.biasName(), EffectiveWeights.bias(layout, weights, segment, layer));
        }
      }
    }
    // Copies of parameters that belong to no layer.
    for (int i = 0; i < layout.parameterNames().size(); i++) {
      if (!merged.containsKey(i)) {
        put(layout.parameterNames().get(i), segment.override(i));
      }
    }
  }

  private void put(String name, @Nullable NDArray array) {
    if (array == null) {
      return;
    }
    int index = layout.parameterIndex(name);
    boolean copy = array == segment.override(index);
    Weight tied = copy ? copies.get(array) : null;
    if (tied != null) {
      merged.put(index, tied);
      return;
    }
    if (form != Form.VALUES && !Ops.allFinite(array)) {
      throw new AdapterStateException(
          "merging would put NaN or infinite values into " + name + "; nothing was changed");
    }
    Weight base = weights.weight(index);
    NDArray own = copy ? array.duplicate() : array;
    boolean packed = form == Form.AS_STORED && !base.stored(name).isEmpty();
    // What has been packed is compared with the values, so these stay until the scope ends.
    Weight weight = packed ? base.withStored(own) : base.withValues(Scopes.unmanaged(own));
    merged.put(index, weight);
    if (copy) {
      copies.put(array, weight);
    }
    if (packed) {
      report.add(
          new MergeReport.MergedWeight(
              name, distance(own, base.dense()), distance(weight.dense(), own)));
    }
  }

  private static double distance(NDArray a, NDArray b) {
    return DISTANCE.call(a, b).getFloat();
  }
}
