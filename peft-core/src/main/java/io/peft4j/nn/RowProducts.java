package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDArrays;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.target.LayerSpec;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Kernel;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Scopes;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The low-rank products of one layer where rows of the batch have adapters of their own, as two
 * batched products instead of two for each adapter: y + s·(x·Aᵀ)·Bᵀ with an A, a B and an s for
 * each group of rows. All groups have as many rows; ranks are filled up with zeros.
 *
 * @param a float32 [groups, rank, in]
 * @param b float32 [groups, out, rank]
 * @param scale float32 [groups, 1, 1]
 */
record RowProducts(NDArray a, NDArray b, NDArray scale) implements AutoCloseable {
  /** With fewer segments than this one after the other is as fast, and copies nothing. */
  private static final int FEW = 3;

  private static final Kernel APPLY =
      Kernel.of(
          "y: Tensor, x: Tensor, a: Tensor, b: Tensor, s: Tensor -> Tensor",
          "g = torch.size(a, 0)",
          "x0 = torch.reshape(x, [g, -1, torch.size(a, 2)])",
          "y0 = torch.reshape(y, [g, -1, torch.size(b, 1)])",
          "t = torch.mul(torch.bmm(x0, torch.transpose(a, 1, 2)), s)",
          "z = torch.baddbmm(y0, t, torch.transpose(b, 1, 2))",
          "return torch.reshape(z, torch.size(y))");

  /** What acts at the layer: a product for each segment, or null for nothing. */
  private record Acting(List<@Nullable LowRankTerm> terms, float[] strengths, double dropout) {}

  /** What acts, if it can be computed so; else null. */
  private static @Nullable Acting acting(Pass pass, LayerSpec layer) {
    List<Segment> segments = pass.segments();
    if (segments.size() < FEW) {
      return null;
    }
    List<@Nullable LowRankTerm> terms = new ArrayList<>();
    float[] strengths = new float[segments.size()];
    double dropout = -1;
    for (int i = 0; i < strengths.length; i++) {
      Segment segment = segments.get(i);
      LayerAdapter adapter = null;
      float strength = 1;
      for (int j = 0; j < segment.adapters().size(); j++) {
        LayerAdapter effect = segment.adapters().get(j).layer(layer.slot());
        if (effect != null && adapter != null) {
          return null;
        }
        if (effect != null) {
          adapter = effect;
          strength = segment.strengths()[j];
        }
      }
      LowRankTerm term = adapter == null ? null : adapter.lowRank();
      if (adapter != null && term == null) {
        return null;
      }
      if (term != null) {
        double own = pass.dropout() ? term.dropout() : 0;
        if (dropout >= 0 && dropout != own) {
          return null;
        }
        dropout = own;
        strengths[i] = strength;
      }
      terms.add(term);
    }
    return new Acting(terms, strengths, Math.max(0, dropout));
  }

  /**
   * Adds the products to what the base computes.
   *
   * @param key stands for the layer in what is kept for the pass
   * @param x float32 [rows, ..., in]
   * @param base float32 [rows, ..., out]; not written to
   * @return float32 [rows, ..., out]; null if this is not the way to compute what acts
   */
  static @Nullable NDArray add(Pass pass, LayerSpec layer, Object key, NDArray x, NDArray base) {
    Acting acting = acting(pass, layer);
    if (acting == null) {
      return null;
    }
    // Recorded stacks belong to one step; others serve all passes over the same adapters.
    RowProducts products =
        JniUtils.isGradMode()
            ? stack(pass, acting)
            : pass.derive(key, RowProducts.class, () -> kept(pass, acting));
    NDArray input = Ops.dropout(x, acting.dropout, pass.dropout());
    return APPLY.call(base, input, products.a, products.b, products.scale);
  }

  private static RowProducts kept(Pass pass, Acting acting) {
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      RowProducts products = stack(pass, acting);
      return new RowProducts(
          Scopes.unmanaged(products.a),
          Scopes.unmanaged(products.b),
          Scopes.unmanaged(products.scale));
    }
  }

  private static RowProducts stack(Pass pass, Acting acting) {
    LowRankTerm first =
        acting.terms.stream().filter(term -> term != null).findFirst().orElseThrow();
    NDManager manager = first.a().getManager();
    long rank = 0;
    for (LowRankTerm term : acting.terms) {
      rank = term == null ? rank : Math.max(rank, term.a().getShape().get(0));
    }
    Shape shapeA = new Shape(rank, first.a().getShape().get(1));
    Shape shapeB = new Shape(first.b().getShape().get(0), rank);
    NDArray nothingA = null;
    NDArray nothingB = null;
    NDList as = new NDList();
    NDList bs = new NDList();
    NDList scales = new NDList();
    for (LowRankTerm term : acting.terms) {
      if (term != null) {
        as.add(filled(term.a(), 0, rank));
        bs.add(filled(term.b(), 1, rank));
        scales.add(term.scaling());
      } else {
        nothingA = nothingA == null ? manager.zeros(shapeA, DataType.FLOAT32) : nothingA;
        nothingB = nothingB == null ? manager.zeros(shapeB, DataType.FLOAT32) : nothingB;
        as.add(nothingA);
        bs.add(nothingB);
        scales.add(first.scaling());
      }
    }
    NDArray strengths =
        Ops.engineOwned(manager.create(acting.strengths, new Shape(scales.size(), 1, 1)));
    NDArray scale = NDArrays.stack(scales).reshape(-1, 1, 1).mul(strengths);
    NDArray a = NDArrays.stack(as);
    NDArray b = NDArrays.stack(bs);
    long[] groups = groups(pass.segments());
    if (groups.length > scales.size()) {
      NDArray index = Ops.engineOwned(manager.create(groups));
      return new RowProducts(a.get(index), b.get(index), scale.get(index));
    }
    return new RowProducts(a, b, scale);
  }

  /** Zeros up to a rank. */
  private static NDArray filled(NDArray factor, int axis, long rank) {
    long missing = rank - factor.getShape().get(axis);
    if (missing == 0) {
      return factor;
    }
    long other = factor.getShape().get(1 - axis);
    Shape rest = axis == 0 ? new Shape(missing, other) : new Shape(other, missing);
    NDArray zeros = factor.getManager().zeros(rest, DataType.FLOAT32);
    return NDArrays.concat(new NDList(factor, zeros), axis);
  }

  /** The segment of each group of rows, where groups are as large as segments allow. */
  private static long[] groups(List<Segment> segments) {
    long size = 0;
    for (Segment segment : segments) {
      size = divisor(segment.end() - segment.begin(), size);
    }
    long rows = segments.get(segments.size() - 1).end();
    long[] groups = new long[Math.toIntExact(rows / size)];
    int next = 0;
    for (int i = 0; i < segments.size(); i++) {
      for (long end = segments.get(i).end() / size; next < end; next++) {
        groups[next] = i;
      }
    }
    return groups;
  }

  /** The greatest common one. */
  private static long divisor(long first, long second) {
    return second == 0 ? first : divisor(second, first % second);
  }

  @Override
  public void close() {
    a.close();
    b.close();
    scale.close();
  }
}
