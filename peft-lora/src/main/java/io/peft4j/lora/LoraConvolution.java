package io.peft4j.lora;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.peft4j.nn.LayerAdapter;
import io.peft4j.nn.LayerCall;
import io.peft4j.torch.Ops;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * LoRA at a convolution of a stock network: A [rank, in, kernel...] convolves as the layer does, B
 * [out, rank, 1...] mixes channels; together they are one kernel s·B·A of the layer's shape.
 */
final class LoraConvolution implements LayerAdapter {
  private final LowRank factors;
  private final @Nullable NDArray bias;
  private final @Nullable NDArray magnitude;

  /**
   * LoRA at one convolution.
   *
   * @param factors A and B
   * @param bias the bias of B [out], or null
   * @param magnitude DoRA's m [1, out, 1...], or null
   */
  LoraConvolution(LowRank factors, @Nullable NDArray bias, @Nullable NDArray magnitude) {
    this.factors = factors;
    this.bias = bias;
    this.magnitude = magnitude;
  }

  @Override
  public NDArray apply(LayerCall call, NDArray output) {
    throw new IllegalStateException("convolutions are adapted by their weights");
  }

  @Override
  public NDArray mergedWeight(NDArray weight, NDArray original, float strength) {
    NDArray delta = factors.delta().reshape(weight.getShape());
    if (magnitude != null) {
      NDArray adapted = original.add(delta);
      long[] column = new long[(int) weight.getShape().dimension()];
      Arrays.fill(column, 1);
      column[0] = weight.getShape().get(0);
      NDArray ratio = magnitude.flatten().div(Dora.norms(adapted)).reshape(new Shape(column));
      delta = adapted.mul(ratio).sub(original);
    }
    return weight.add(Ops.scale(delta, strength));
  }

  @Override
  public @Nullable NDArray mergedBias(@Nullable NDArray own, float strength) {
    if (bias == null) {
      return own;
    }
    NDArray added = bias.mul(factors.scaled(strength));
    return own == null ? added : own.add(added);
  }

  @Override
  public String describe() {
    return LoraEffects.describe(factors, magnitude != null, bias != null);
  }
}
