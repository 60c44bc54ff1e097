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
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Scopes;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The low-rank products that act at layers with a common input, put together: y + B·A·x, where A
 * has the rows of all and B their columns, scaled, each in the place of its layer's output. Where
 * rows of the batch have different adapters there is a pair for each row, filled up with zeros.
 *
 * @param a float32 [rank, in], or [batch, rank, in]; null if nothing acts
 * @param b float32 [out, rank], or [batch, out, rank]
 */
record LowRankStack(@Nullable NDArray a, @Nullable NDArray b) implements AutoCloseable {

  boolean acts() {
    return a != null;
  }

  boolean byRow() {
    return a != null && a.getShape().dimension() == 3;
  }

  /** Tells whether all that acts at a layer has this form. */
  static boolean fits(Pass pass, LayerSpec layer) {
    for (Segment segment : pass.segments()) {
      for (Acting adapter : segment.adapters()) {
        LayerAdapter effect = adapter.layer(layer.slot());
        if (effect != null && effect.lowRank() == null) {
          return false;
        }
      }
    }
    return true;
  }

  /**
   * Puts together what acts.
   *
   * @param layers layers with a common input, for all of which {@link #fits}
   * @param outs the size of each layer's output
   */
  static LowRankStack of(Pass pass, List<LayerSpec> layers, long in, long[] outs) {
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      List<Pair> pairs = new ArrayList<>();
      long rank = 0;
      NDManager manager = null;
      for (Segment segment : pass.segments()) {
        Pair pair = pair(segment, layers, outs);
        pairs.add(pair);
        if (pair.a.size() > 0) {
          manager = pair.a.head().getManager();
          rank = Math.max(rank, pair.rank());
        }
      }
      if (manager == null) {
        return new LowRankStack(null, null);
      }
      NDList as = new NDList();
      NDList bs = new NDList();
      long out = Arrays.stream(outs).sum();
      for (int i = 0; i < pairs.size(); i++) {
        NDArray a = filled(manager, pairs.get(i).a, 0, new Shape(rank, in));
        NDArray b = filled(manager, pairs.get(i).b, 1, new Shape(out, rank));
        if (pairs.size() == 1) {
          return new LowRankStack(own(a), own(b));
        }
        Segment segment = pass.segments().get(i);
        long rows = segment.end() - segment.begin();
        as.add(a.expandDims(0).broadcast(new Shape(rows, rank, in)));
        bs.add(b.expandDims(0).broadcast(new Shape(rows, out, rank)));
      }
      return new LowRankStack(own(NDArrays.concat(as)), own(NDArrays.concat(bs)));
    }
  }

  /** In memory of its own: with a single part, concatenation gives that part. */
  private static NDArray own(NDArray array) {
    return Scopes.unmanaged(array.duplicate());
  }

  private record Pair(NDList a, NDList b) {
    long rank() {
      return a.stream().mapToLong(part -> part.getShape().get(0)).sum();
    }
  }

  private static Pair pair(Segment segment, List<LayerSpec> layers, long[] outs) {
    Pair pair = new Pair(new NDList(), new NDList());
    long before = 0;
    long after = Arrays.stream(outs).sum();
    for (int l = 0; l < outs.length; l++) {
      after -= outs[l];
      for (int i = 0; i < segment.adapters().size(); i++) {
        LayerAdapter adapter = segment.adapters().get(i).layer(layers.get(l).slot());
        LowRankTerm term = adapter == null ? null : adapter.lowRank();
        if (term != null) {
          NDArray scaled = term.b().mul(Ops.scale(term.scaling(), segment.strengths()[i]));
          long rank = scaled.getShape().get(1);
          NDManager manager = scaled.getManager();
          NDList column = new NDList();
          if (before > 0) {
            column.add(manager.zeros(new Shape(before, rank), DataType.FLOAT32));
          }
          column.add(scaled);
          if (after > 0) {
            column.add(manager.zeros(new Shape(after, rank), DataType.FLOAT32));
          }
          pair.a.add(term.a());
          pair.b.add(NDArrays.concat(column));
        }
      }
      before += outs[l];
    }
    return pair;
  }

  /** The parts side by side, and zeros up to a shape. */
  private static NDArray filled(NDManager manager, NDList parts, int axis, Shape shape) {
    long have = parts.stream().mapToLong(part -> part.getShape().get(axis)).sum();
    NDList all = new NDList(parts);
    if (have < shape.get(axis)) {
      long missing = shape.get(axis) - have;
      Shape rest = axis == 0 ? new Shape(missing, shape.get(1)) : new Shape(shape.get(0), missing);
      all.add(manager.zeros(rest, DataType.FLOAT32));
    }
    return NDArrays.concat(all, axis);
  }

  @Override
  public void close() {
    if (a != null) {
      a.close();
    }
    if (b != null) {
      b.close();
    }
  }
}
