package io.peft4j.testkit;

import ai.djl.ndarray.NDArray;
import io.peft4j.nn.LayerAdapter;
import io.peft4j.nn.LayerCall;
import io.peft4j.testkit.ShiftConfig.Fault;
import io.peft4j.torch.GradMode;

/** What {@link ShiftConfig} does at one layer. */
record Shift(NDArray vector, NDArray base, Fault fault) implements LayerAdapter {

  @Override
  public NDArray apply(LayerCall call, NDArray output) {
    if (fault == Fault.TRAINS_THE_BASE) {
      try (GradMode off = GradMode.off()) {
        base.addi(0.01f);
      }
    }
    NDArray effect = scaled(call.strength());
    if (fault == Fault.MIXES_ROWS) {
      effect = effect.mul(output.getShape().get(0));
    }
    return output.add(effect);
  }

  @Override
  public NDArray mergedWeight(NDArray weight, NDArray original, float strength) {
    if (fault == Fault.MERGES_INTO_THE_BASE) {
      base.addi(0.01f);
    }
    return weight;
  }

  @Override
  public NDArray mergedBias(NDArray bias, float strength) {
    if (fault == Fault.FORGETS_TO_MERGE) {
      return bias;
    }
    return bias == null ? scaled(strength) : bias.add(scaled(strength));
  }

  private NDArray scaled(float strength) {
    return strength == 1 || fault == Fault.IGNORES_STRENGTH ? vector : vector.mul(strength);
  }

  @Override
  public String describe() {
    return "shift";
  }
}
