package io.peft4j.nn;

import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Scopes;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * The layers of one training pass, in their order. Where layers are to be recomputed, each is run
 * without gradients and only its input kept; {@link #backward} runs them again, last to first, with
 * gradients. Where dropout acts, each layer begins the engine's random numbers anew from a number
 * of its own, so that both runs drop the same, and recomputation changes no bit. The arrays belong
 * to the caller's scope.
 */
final class Recomputation {
  private static final int SEEDS = 1 << 30;
  private static final long STRIDE = 0x9E3779B97F4A7C15L;

  private boolean recompute;
  private final boolean seeded;
  private final List<Step> steps = new ArrayList<>();
  private @Nullable NDArray entry;
  private long seed = -1;
  private int layers;

  private record Step(NDArray input, NDArray output, UnaryOperator<NDArray> body, int number) {}

  Recomputation(boolean recompute, boolean seeded) {
    this.recompute = recompute;
    this.seeded = seeded;
  }

  /** From here on layers are recomputed. */
  void begin() {
    recompute = true;
  }

  NDArray layer(NDArray x, UnaryOperator<NDArray> body) {
    int number = layers++;
    if (seeded && seed < 0) {
      seed = draw(x.getManager());
    }
    if (!recompute) {
      return Scopes.keepResult(() -> seeded(number, body, x));
    }
    if (entry == null) {
      entry = x;
    }
    NDArray input = x.stopGradient();
    NDArray output;
    try (GradMode off = GradMode.off()) {
      output = Scopes.keepResult(() -> seeded(number, body, input));
    }
    // What comes after the layers is recorded from here on.
    output.setRequiresGradient(true);
    steps.add(new Step(input, output, body, number));
    return output;
  }

  private NDArray seeded(int number, UnaryOperator<NDArray> body, NDArray x) {
    if (seeded) {
      Engine.getEngine("PyTorch").setRandomSeed((int) ((seed + number) * STRIDE >>> 33));
    }
    return body.apply(x);
  }

  /** From the engine's own sequence, so that passes differ and runs repeat. */
  private static long draw(NDManager manager) {
    try (NDArray drawn = manager.randomInteger(0, SEEDS, new Shape(1), DataType.INT64)) {
      return drawn.getLong(0);
    }
  }

  /** Goes on from where a backward pass over what came after the layers has ended. */
  void backward() {
    NDArray gradient = null;
    long next = seeded && !steps.isEmpty() ? draw(steps.get(0).input.getManager()) : -1;
    for (int i = steps.size() - 1; i >= 0; i--) {
      Step step = steps.get(i);
      try (GradMode on = GradMode.on();
          NDScope scope = new NDScope()) {
        scope.suppressNotUsedWarning();
        NDArray above = gradient == null ? JniUtils.getGradient((PtNDArray) step.output) : gradient;
        if (above == null) {
          return;
        }
        NDArray input = step.input.stopGradient();
        input.setRequiresGradient(true);
        NDArray output = seeded(step.number, step.body, input);
        JniUtils.backward((PtNDArray) output, (PtNDArray) above, false, false);
        NDArray below = JniUtils.getGradient((PtNDArray) input);
        if (below == null) {
          throw new IllegalStateException("a layer does not depend on its input");
        }
        NDScope.unregister(below);
        if (gradient != null) {
          gradient.close();
        }
        gradient = below;
      }
      step.output.close();
      step.input.close();
    }
    steps.clear();
    if (gradient != null) {
      if (entry != null && Ops.recorded(entry)) {
        JniUtils.backward((PtNDArray) entry, (PtNDArray) gradient, false, false);
      }
      gradient.close();
    }
    if (next >= 0) {
      // What is drawn after this pass does not repeat what the layers drew.
      Engine.getEngine("PyTorch").setRandomSeed((int) next);
    }
  }
}
