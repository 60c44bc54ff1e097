package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDArrays;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.index.NDIndex;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A layer where adapters act: a pure function of its input and of the weights and adapters of the
 * pass. Holds no arrays. The first dimension of every input is the batch.
 */
public abstract class Layer {
  private final LayerSpec spec;
  private final int weightIndex;
  private final int biasIndex;

  Layer(ModelLayout layout, LayerSpec spec) {
    this.spec = spec;
    weightIndex = layout.parameterIndex(spec.weightName());
    biasIndex = spec.bias() ? layout.parameterIndex(spec.biasName()) : -1;
  }

  /**
   * Path, kind and shapes.
   *
   * @return the description this layer was made from
   */
  public final LayerSpec spec() {
    return spec;
  }

  /**
   * Computes the layer with the adapters of the pass.
   *
   * @param pass weights and adapters
   * @param x the input, its first dimension the batch
   * @return the output
   */
  public final NDArray forward(Pass pass, NDArray x) {
    List<Segment> segments = pass.segments();
    if (segments.size() == 1) {
      return forward(pass, segments.get(0), x);
    }
    boolean overridden = false;
    boolean adapted = false;
    for (Segment segment : segments) {
      overridden |= overridden(segment);
      adapted |= segment.acts(spec.slot());
    }
    if (!overridden && !adapted) {
      return forward(pass, Segment.ALL_BASE, x);
    }
    // The base's part is computed once for all rows unless an adapter brings its own parameters.
    NDArray base = overridden ? null : forward(pass, Segment.ALL_BASE, x);
    NDArray together = base == null ? null : RowProducts.add(pass, spec, this, x, base);
    if (together != null) {
      return together;
    }
    NDList parts = new NDList(segments.size());
    for (Segment segment : segments) {
      NDIndex rows = new NDIndex().addSliceDim(segment.begin(), segment.end());
      NDArray part = x.get(rows);
      parts.add(
          base == null
              ? forward(pass, segment, part)
              : adapt(
                  pass, segment, part, weight(pass, segment), bias(pass, segment), base.get(rows)));
    }
    return NDArrays.concat(parts);
  }

  /** Computes rows that are all of one segment. */
  final NDArray forward(Pass pass, Segment segment, NDArray x) {
    Weight weight = weight(pass, segment);
    NDArray bias = bias(pass, segment);
    return adapt(pass, segment, x, weight, bias, compute(x, weight, bias));
  }

  private NDArray adapt(
      Pass pass, Segment segment, NDArray x, Weight weight, @Nullable NDArray bias, NDArray base) {
    NDArray y = base;
    for (int i = 0; i < segment.adapters().size(); i++) {
      LayerAdapter adapter = segment.adapters().get(i).layer(spec.slot());
      if (adapter != null) {
        float strength = segment.strengths()[i];
        y = adapter.apply(new LayerCall(x, base, weight, bias, strength, pass.dropout()), y);
      }
    }
    return y;
  }

  final Weight weight(Pass pass, Segment segment) {
    NDArray override = segment.override(weightIndex);
    return override == null ? pass.weights().weight(weightIndex) : DenseWeight.of(override);
  }

  final @Nullable NDArray bias(Pass pass, Segment segment) {
    if (biasIndex < 0) {
      return null;
    }
    NDArray override = segment.override(biasIndex);
    return override == null ? pass.weights().weight(biasIndex).dense() : override;
  }

  /** Tells whether an adapter brings its own parameters. */
  final boolean overridden(Segment segment) {
    return segment.override(weightIndex) != null || segment.override(biasIndex) != null;
  }

  /**
   * The weight of the layer, if nothing acts here and no adapter brings its own.
   *
   * @param pass weights and adapters
   * @return the base's weight; null if there is more to it
   */
  public final @Nullable Weight untouched(Pass pass) {
    for (Segment segment : pass.segments()) {
      if (segment.acts(spec.slot()) || overridden(segment)) {
        return null;
      }
    }
    return pass.weights().weight(weightIndex);
  }

  /**
   * The weight of a layer where no adapter acts, if all rows have the same and it is held in
   * float32; else null.
   */
  final @Nullable NDArray plain(Pass pass) {
    NDArray own = null;
    for (int i = 0; i < pass.segments().size(); i++) {
      Segment segment = pass.segments().get(i);
      NDArray override = segment.override(weightIndex);
      if (segment.acts(spec.slot()) || (i > 0 && override != own)) {
        return null;
      }
      own = override;
    }
    Weight base = pass.weights().weight(weightIndex);
    return own != null ? own : base.holdsFloat32() ? base.dense() : null;
  }

  abstract NDArray compute(NDArray x, Weight weight, @Nullable NDArray bias);
}
