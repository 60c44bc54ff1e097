package io.peft4j;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDScope;
import io.peft4j.nn.LayerAdapter;
import io.peft4j.nn.LowRankTerm;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.spi.Adapter;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.GradMode;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Measures what an adapter adds to the weights of the layers it acts on. */
final class LayerDeltas {
  private LayerDeltas() {}

  static List<LayerDelta> of(ModelLayout layout, WeightSnapshot weights, Adapter adapter) {
    List<LayerDelta> deltas = new ArrayList<>();
    try (GradMode off = GradMode.off()) {
      for (LayerSpec layer : layout.layers()) {
        LayerAdapter effect = adapter.layer(layer.slot());
        int index = layout.parameterIndex(layer.weightName());
        NDArray own = adapter.override(index);
        if (effect != null || own != null) {
          try (NDScope scope = new NDScope()) {
            scope.suppressNotUsedWarning();
            NDArray weight = weights.weight(index).dense();
            double norm = norm(weight, effect, own);
            if (!Double.isNaN(norm)) {
              deltas.add(new LayerDelta(layer.path(), norm, norm / norm(weight)));
            }
          }
        }
      }
    }
    return deltas;
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
