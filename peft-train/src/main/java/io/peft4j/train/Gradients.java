package io.peft4j.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.TrainableParameter;
import io.peft4j.torch.GradMode;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** The gradients of many parameters taken together. */
public final class Gradients {
  /** What torch adds to the norm before it divides by it. */
  private static final float NORM_EPSILON = 1e-6f;

  private Gradients() {}

  /**
   * Scales gradients down so that the 2-norm of all of them together is at most a bound, as {@code
   * torch.nn.utils.clip_grad_norm_} does. A norm that is not finite changes nothing.
   *
   * @param parameters float32 parameters; those without a gradient count as 0
   * @param maxNorm the bound, above 0; infinity to measure only
   * @return the norm before scaling
   */
  public static double clip(List<TrainableParameter> parameters, double maxNorm) {
    return scaleAndClip(parameters, 1, maxNorm);
  }

  /** Multiplies all gradients by a factor, then clips; returns the norm between the two. */
  static double scaleAndClip(List<TrainableParameter> parameters, double factor, double maxNorm) {
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      List<NDArray> gradients = present(parameters);
      if (gradients.isEmpty()) {
        return 0;
      }
      try (NDManager scratch = gradients.get(0).getManager().newSubManager()) {
        if (factor != 1) {
          ForEach.scale(gradients, (float) factor, scratch);
        }
        float norm = ForEach.norm(allOrZero(parameters, scratch)).getFloat();
        // In float32 and by way of the reciprocal, as torch divides a number by a tensor.
        float coefficient = (1 / (norm + NORM_EPSILON)) * (float) maxNorm;
        if (coefficient < 1 && Float.isFinite(norm)) {
          ForEach.scale(gradients, coefficient, scratch);
        }
        return norm;
      }
    }
  }

  /** The 2-norm of each parameter's gradient, 0 where there is none. */
  static float[] norms(List<TrainableParameter> parameters) {
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      List<NDArray> gradients = present(parameters);
      if (gradients.isEmpty()) {
        return new float[parameters.size()];
      }
      try (NDManager scratch = gradients.get(0).getManager().newSubManager()) {
        return ForEach.norms(allOrZero(parameters, scratch)).toFloatArray();
      }
    }
  }

  private static List<NDArray> present(List<TrainableParameter> parameters) {
    return parameters.stream().map(p -> of(p.array())).filter(Objects::nonNull).toList();
  }

  /**
   * With a 0 for each gradient that is absent. So a sum over all has the same order, and bits,
   * whether a parameter had a gradient in an earlier step, which leaves zeros behind, or never.
   */
  private static List<NDArray> allOrZero(List<TrainableParameter> parameters, NDManager scratch) {
    NDArray zero = scratch.zeros(new Shape(1));
    return parameters.stream().map(p -> Objects.requireNonNullElse(of(p.array()), zero)).toList();
  }

  /** A handle on the gradient, or null if there is none. It belongs to the current scope. */
  static @Nullable NDArray of(NDArray parameter) {
    // DJL's own getter makes up zeros where there is none.
    return JniUtils.getGradient((PtNDArray) parameter);
  }
}
