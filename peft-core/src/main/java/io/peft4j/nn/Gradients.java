package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Kernel;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Gradients that were computed by hand, on their way to the parameters. The engine offers no way to
 * set a gradient; but the gradient of the dot product of a parameter and an array is that array.
 */
final class Gradients {
  private static final int CHUNK = 32;
  private static final Map<Integer, Kernel> DOTS = new ConcurrentHashMap<>();

  private final List<NDArray> parameters = new ArrayList<>();
  private final List<NDArray> gradients = new ArrayList<>();

  /** Notes a gradient, of the parameter's shape. */
  void add(NDArray parameter, NDArray gradient) {
    parameters.add(parameter);
    gradients.add(gradient);
  }

  /** Adds what was noted to what the parameters hold. The arrays made are the caller's scope's. */
  void accumulate() {
    try (GradMode on = GradMode.on()) {
      for (int from = 0; from < parameters.size(); from += CHUNK) {
        int to = Math.min(parameters.size(), from + CHUNK);
        List<NDArray> inputs = new ArrayList<>(parameters.subList(from, to));
        inputs.addAll(gradients.subList(from, to));
        NDArray sum =
            DOTS.computeIfAbsent(to - from, Gradients::kernel).call(inputs.toArray(NDArray[]::new));
        NDArray seed = sum.getManager().full(new Shape(), 1f, DataType.FLOAT32);
        JniUtils.backward((PtNDArray) sum, (PtNDArray) seed, false, false);
      }
    }
  }

  private static Kernel kernel(int n) {
    List<String> names = new ArrayList<>();
    List<String> dots = new ArrayList<>();
    for (int i = 0; i < n; i++) {
      names.add("p" + i + ": Tensor");
      dots.add("torch.dot(torch.reshape(p%d, [-1]), torch.reshape(g%d, [-1]))".formatted(i, i));
    }
    for (int i = 0; i < n; i++) {
      names.add("g" + i + ": Tensor");
    }
    return Kernel.of(
        String.join(", ", names) + " -> Tensor",
        "return torch.sum(torch.stack([" + String.join(", ", dots) + "]))");
  }
}
