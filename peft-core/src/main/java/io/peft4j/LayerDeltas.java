package io.peft4j;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDScope;
import io.peft4j.nn.EffectiveWeights;
import io.peft4j.nn.LayerAdapter;
import io.peft4j.nn.LowRankTerm;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.spi.Adapter;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.GradMode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Measures what an adapter adds to the weights of the layers it acts on. */
final class LayerDeltas {
  private LayerDeltas() {}

  /** What adapters that act together add. */
  static List<LayerDelta> of(
      ModelLayout layout, WeightSnapshot weights, Collection<Adapter> adapters) {
    List<LayerDelta> deltas = new ArrayList<>();
    try (GradMode off = GradMode.off()) {
      for (LayerSpec layer : layout.layers()) {
        int index = layout.parameterIndex(layer.weightName());
        List<Adapter> acting =
            adapters.stream()
                .filter(a -> a.layer(layer.slot()) != null || a.override(index) != null)
                .toList();
        if (!acting.isEmpty()) {
          try (NDScope scope = new NDScope()) {
            scope.suppressNotUsedWarning();
            NDArray weight = weights.weight(index).dense();
            Adapter only = acting.get(0);
            double norm =
                acting.size() == 1
                    ? norm(weight, only.layer(layer.slot()), only.override(index))
                    : norm(layout, weights, layer, acting);
            if (!Double.isNaN(norm)) {
              deltas.add(new LayerDelta(layer.path(), norm, norm / norm(weight)));
            }
          }
        }
      }
    }
    return deltas;
  }

  private static double norm(
      ModelLayout layout, WeightSnapshot weights, LayerSpec layer, List<Adapter> acting) {
    for (Adapter adapter : acting) {
      LayerAdapter effect = adapter.layer(layer.slot());
      if (effect != null && effect.notMergeable() != null) {
        return Double.NaN;
      }
    }
    float[] strengths = new float[acting.size()];
    Arrays.fill(strengths, 1);
    Segment segment = new Segment(0, Long.MAX_VALUE, acting, strengths);
    NDArray changed = EffectiveWeights.weight(layout, weights, segment, layer);
    NDArray weight = weights.weight(layout.parameterIndex(layer.weightName())).dense();
    return changed == null ? 0 : norm(changed.sub(weight));
  }

  /** NaN where the effect fits into no weight. */
  private static double norm(NDArray weight, @Nullable LayerAdapter effect, @Nullable NDArray own) {
    if (effect == null) {
      return own == null ? 0 : norm(own.sub(weight));
    }
    LowRankTerm product = effect.lowRank();
    if (own == null && product != null) {
      // ‖B·A‖² is the sum of (BᵀB)∘(AAᵀ): exact however small it is beside W, and quick.
      NDArray inner = product.b().transpose().matMul(product.b());
      NDArray outer = product.a().matMul(product.a().transpose());
      double square = inner.mul(outer).sum().getFloat();
      return Math.abs(product.scaling().getFloat()) * Math.sqrt(Math.max(0, square));
    }
    if (effect.notMergeable() != null) {
      return Double.NaN;
    }
    NDArray before = own == null ? weight : own;
    return norm(effect.mergedWeight(before, before, 1).sub(weight));
  }

  private static double norm(NDArray array) {
    return Math.sqrt(array.pow(2).sum().getFloat());
  }
}
