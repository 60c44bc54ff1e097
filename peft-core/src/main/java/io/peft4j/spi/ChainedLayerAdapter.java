package io.peft4j.spi;

import ai.djl.ndarray.NDArray;
import io.peft4j.nn.LayerAdapter;
import io.peft4j.nn.LayerCall;
import org.jspecify.annotations.Nullable;

/** Two effects of one adapter at one layer, one after the other. */
record ChainedLayerAdapter(LayerAdapter first, LayerAdapter second) implements LayerAdapter {

  @Override
  public NDArray apply(LayerCall call, NDArray output) {
    return second.apply(call, first.apply(call, output));
  }

  @Override
  public NDArray mergedWeight(NDArray weight, NDArray original, float strength) {
    return second.mergedWeight(first.mergedWeight(weight, original, strength), original, strength);
  }

  @Override
  public @Nullable NDArray mergedBias(@Nullable NDArray bias, float strength) {
    return second.mergedBias(first.mergedBias(bias, strength), strength);
  }

  @Override
  public @Nullable String notMergeable() {
    String reason = first.notMergeable();
    return reason == null ? second.notMergeable() : reason;
  }

  @Override
  public @Nullable String conflict(LayerAdapter other) {
    if (other instanceof ChainedLayerAdapter chain) {
      String reason = conflict(chain.first);
      return reason == null ? conflict(chain.second) : reason;
    }
    String reason = first.conflict(other);
    return reason == null ? second.conflict(other) : reason;
  }

  @Override
  public String describe() {
    return first.describe() + "; " + second.describe();
  }
}
