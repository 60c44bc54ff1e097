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
import io.peft4j.torch.Ops;
import io.peft4j.torch.Scopes;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Computes the weights that take the place of the base's when adapters are merged. */
final class Merger {
  private final ModelLayout layout;
  private final WeightSnapshot weights;
  private final Segment segment;
  private final boolean safe;
  private final Map<Integer, Weight> merged = new HashMap<>();

  /** Copies that are put in place unchanged: tied parameters stay one. */
  private final Map<NDArray, Weight> copies = new IdentityHashMap<>();

  private Merger(ModelLayout layout, WeightSnapshot weights, Segment segment, boolean safe) {
    this.layout = layout;
    this.weights = weights;
    this.segment = segment;
    this.safe = safe;
  }

  /**
   * The merged weights by parameter index, owned by the caller; nothing is left behind on error.
   */
  static Map<Integer, Weight> merge(
      ModelLayout layout, WeightSnapshot weights, Segment segment, boolean safe) {
    Merger merger = new Merger(layout, weights, segment, safe);
    try (GradMode off = GradMode.off()) {
      merger.run();
      return merger.merged;
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
    NDArray own = copy ? array.duplicate() : array;
    Weight weight = weights.weight(index).withValues(Scopes.unmanaged(own));
    merged.put(index, weight);
    if (copy) {
      copies.put(array, weight);
    }
    if (safe && !Ops.allFinite(own)) {
      throw new AdapterStateException(
          "merging would put NaN or infinite values into " + name + "; nothing was changed");
    }
  }
}
