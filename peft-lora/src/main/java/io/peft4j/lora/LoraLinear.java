package io.peft4j.lora;

import ai.djl.ndarray.NDArray;
import io.peft4j.nn.LayerAdapter;
import io.peft4j.nn.LayerCall;
import io.peft4j.nn.LowRankTerm;
import io.peft4j.nn.Weight;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Scopes;
import org.jspecify.annotations.Nullable;

/** LoRA at a linear layer: y + s·B·A·dropout(x), and its DoRA form. */
final class LoraLinear implements LayerAdapter {
  private final LowRank factors;
  private final @Nullable NDArray bias;
  private final @Nullable NDArray magnitude;
  private final @Nullable Squares squares;
  private final double dropout;
  private final boolean transposed;

  /**
   * The squared norms of the rows of a layer's weight, computed once.
   *
   * @param weight the base's own weight
   * @param values its squared norms [out]
   */
  record Squares(Weight weight, NDArray values) {
    /** Those of the weight in force, straightened: the known ones if it is the base's own. */
    NDArray of(Weight inForce, NDArray straight) {
      return inForce == weight ? values : Dora.squares(straight);
    }
  }

  /**
   * LoRA at one layer.
   *
   * @param factors A and B
   * @param bias the bias of B [out], or null
   * @param magnitude DoRA's m [out], or null
   * @param squares the base's, with a magnitude
   * @param dropout probability
   * @param transposed whether the layer stores W as [in, out]
   */
  LoraLinear(
      LowRank factors,
      @Nullable NDArray bias,
      @Nullable NDArray magnitude,
      @Nullable Squares squares,
      double dropout,
      boolean transposed) {
    this.factors = factors;
    this.bias = bias;
    this.magnitude = magnitude;
    this.squares = squares;
    this.dropout = dropout;
    this.transposed = transposed;
  }

  @Override
  public NDArray apply(LayerCall call, NDArray output) {
    boolean dropped = call.dropout() && dropout > 0;
    NDArray x = Ops.dropout(call.input(), dropout, call.dropout());
    NDArray y;
    if (magnitude == null || squares == null) {
      y = factors.addTo(output, x, call.strength());
    } else {
      NDArray ratio = ratio(call.weight(), magnitude, squares);
      // With dropout the base's part is that of the dropped input too, as in PEFT.
      NDArray base =
          dropped
              ? (transposed
                  ? call.weight().linearTransposed(x, null)
                  : call.weight().linear(x, null))
              : call.bias() == null ? call.baseOutput() : call.baseOutput().sub(call.bias());
      y = output.add(Dora.effect(base, x, ratio, factors, call.strength()));
    }
    return bias == null ? y : y.add(bias.mul(factors.scaled(call.strength())));
  }

  /** m/‖W + ΔW‖. A weight that is not held dense is made so for this alone. */
  private NDArray ratio(Weight weight, NDArray m, Squares known) {
    return Scopes.keepResult(
        () -> {
          NDArray dense = straight(weight.dense());
          // An adapter may bring its own weight for the layer, this one or another that acts too.
          return m.div(Dora.norms(dense, known.of(weight, dense), factors));
        });
  }

  @Override
  public NDArray mergedWeight(NDArray weight, NDArray original, float strength) {
    if (magnitude == null) {
      return factors.addDelta(weight, transposed, strength);
    }
    NDArray adapted = straight(original).add(factors.delta());
    NDArray ratio = magnitude.div(Dora.norms(adapted)).expandDims(1);
    NDArray delta = adapted.mul(ratio).sub(straight(original));
    return weight.add(straight(Ops.scale(delta, strength)));
  }

  @Override
  public @Nullable NDArray mergedBias(@Nullable NDArray own, float strength) {
    if (bias == null) {
      return own;
    }
    NDArray added = bias.mul(factors.scaled(strength));
    return own == null ? added : own.add(added);
  }

  /** A matrix as [out, in], and back. */
  private NDArray straight(NDArray matrix) {
    return transposed ? matrix.transpose() : matrix;
  }

  @Override
  public @Nullable LowRankTerm lowRank() {
    return magnitude == null && bias == null && factors.initial() == null
        ? new LowRankTerm(factors.a(), factors.b(), factors.scaling(), dropout)
        : null;
  }

  @Override
  public String describe() {
    return LoraEffects.describe(factors, magnitude != null, bias != null);
  }
}
