package io.peft4j.models.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDScope;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.models.CausalContext;
import io.peft4j.nn.Pass;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Ops;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The layers of one training step, forward and backward.
 *
 * @param pass weights, adapters and options
 * @param layers the layers
 * @param rotations the tables of angles of each layer
 * @param context positions and masks
 */
record DecoderStep(
    Pass pass, List<DecoderLayer> layers, List<NDList> rotations, CausalContext context) {

  /** Why gradients cannot be computed by hand; null if they can. */
  @Nullable String obstacle() {
    for (DecoderLayer layer : layers) {
      String obstacle = layer.step().obstacle(pass);
      if (obstacle != null) {
        return obstacle;
      }
    }
    return null;
  }

  /** The layers' output, recorded or to be recomputed as the pass says. */
  NDArray recorded(NDArray embedded) {
    NDArray x = embedded;
    for (int i = 0; i < layers.size(); i++) {
      DecoderLayer layer = layers.get(i);
      NDList turns = rotations.get(i);
      x = pass.layer(x, input -> layer.forward(pass, input, turns, context));
    }
    return x;
  }

  /**
   * Computes the layers, what comes after them, and the gradients of everything. Nothing is kept of
   * layers below the lowest that is trained, unless what lies below them is trained too.
   *
   * @param embedded the input of the first layer
   * @param top follows its loss back to the last layer's output, given as an array that gradients
   *     are recorded for
   * @return what {@code top} gave
   */
  OptionalDouble byHand(NDArray embedded, Function<NDArray, OptionalDouble> top) {
    boolean through = Ops.recorded(embedded);
    int lowest = 0;
    while (!through && lowest < layers.size() && !layers.get(lowest).step().trained(pass)) {
      lowest++;
    }
    List<NDArray> inputs = new ArrayList<>();
    List<LayerStep.@Nullable Kept> kept = new ArrayList<>();
    NDArray x = embedded.stopGradient();
    try (GradMode off = GradMode.off()) {
      for (int i = 0; i < layers.size(); i++) {
        boolean keep = i >= lowest && !pass.training().recomputation();
        LayerStep.Result result =
            layers.get(i).step().forward(pass, x, rotations.get(i), context, keep);
        if (i >= lowest) {
          inputs.add(x);
        } else {
          x.close();
        }
        kept.add(result.kept());
        x = result.output();
      }
    }
    if (lowest < layers.size()) {
      x.setRequiresGradient(true);
    }
    OptionalDouble value;
    NDArray gradient;
    try (NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      value = top.apply(x);
      gradient = lowest < layers.size() ? JniUtils.getGradient((PtNDArray) x) : null;
      if (gradient != null) {
        NDScope.unregister(gradient);
      }
    }
    x.close();
    try (GradMode off = GradMode.off()) {
      for (int i = layers.size() - 1; i >= lowest && gradient != null; i--) {
        NDArray input = inputs.get(i - lowest);
        gradient =
            layers
                .get(i)
                .step()
                .backward(
                    pass,
                    input,
                    rotations.get(i),
                    context,
                    kept.get(i),
                    gradient,
                    through || i > lowest);
        input.close();
      }
    }
    if (gradient != null) {
      JniUtils.backward((PtNDArray) embedded, (PtNDArray) gradient, false, false);
      gradient.close();
    }
    return value;
  }
}
