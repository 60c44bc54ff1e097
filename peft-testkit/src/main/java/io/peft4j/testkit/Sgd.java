package io.peft4j.testkit;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.AdapterSet;
import io.peft4j.ForwardMode;
import io.peft4j.PeftModel;
import io.peft4j.TrainableParameter;
import io.peft4j.torch.GradMode;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** The plainest training there is, so that the kit needs no training module. */
final class Sgd {
  private Sgd() {}

  /** Trains on the network's batch; returns the loss before the last step. */
  static float train(
      PeftModel model, TestNetwork network, NDManager manager, int steps, float rate) {
    float last = Float.NaN;
    for (int i = 0; i < steps; i++) {
      try (NDManager step = manager.newSubManager()) {
        NDList outputs = model.forward(network.inputs(step), ForwardMode.TRAINING);
        NDArray loss = loss(outputs, network::loss);
        backward(loss);
        last = loss.getFloat();
      }
      update(model.trainableParameters(), rate);
    }
    return last;
  }

  /** What lies between the outputs and the loss is recorded like the rest. */
  private static NDArray loss(NDList outputs, Function<NDList, NDArray> scalar) {
    try (GradMode on = GradMode.on()) {
      return scalar.apply(outputs);
    }
  }

  /** Adds the gradients of a scalar to those of the parameters. */
  static void backward(NDArray scalar) {
    try (NDArray one = scalar.onesLike()) {
      JniUtils.backward((PtNDArray) scalar, (PtNDArray) one, false, false);
    }
  }

  /** A handle on the gradient of a parameter, or null if there is none; the caller closes it. */
  static @Nullable NDArray gradient(NDArray parameter) {
    return JniUtils.getGradient((PtNDArray) parameter);
  }

  /** Takes a step against the gradients and clears them. */
  static void update(List<TrainableParameter> parameters, float rate) {
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      for (TrainableParameter parameter : parameters) {
        NDArray gradient = gradient(parameter.array());
        if (gradient != null) {
          parameter.array().subi(gradient.mul(rate));
          JniUtils.zeroGrad((PtNDArray) parameter.array());
        }
      }
    }
  }

  /**
   * The gradients of a scalar made of the network's outputs, without dropout, by adapter and key;
   * cleared afterwards. Parameters without a gradient have zeros.
   */
  static Map<String, float[]> gradients(
      PeftModel model,
      AdapterSet set,
      TestNetwork network,
      NDManager manager,
      Function<NDList, NDArray> scalar) {
    try (NDManager step = manager.newSubManager()) {
      NDList outputs =
          model.with(set).forward(network.inputs(step), ForwardMode.TRAINING_WITHOUT_DROPOUT);
      backward(loss(outputs, scalar));
    }
    Map<String, float[]> values = new TreeMap<>();
    for (TrainableParameter parameter : model.trainableParameters()) {
      try (NDArray gradient = gradient(parameter.array())) {
        values.put(
            parameter.adapter() + "/" + parameter.name(),
            gradient == null
                ? new float[(int) parameter.array().getShape().size()]
                : gradient.toFloatArray());
        if (gradient != null) {
          JniUtils.zeroGrad((PtNDArray) parameter.array());
        }
      }
    }
    return values;
  }

  /** Moves parameters along a direction, given by adapter and key. */
  static void move(PeftModel model, Map<String, float[]> direction, double step) {
    try (GradMode off = GradMode.off();
        NDManager scratch = NDManager.newBaseManager("PyTorch")) {
      for (TrainableParameter parameter : model.trainableParameters()) {
        float[] values = direction.get(parameter.adapter() + "/" + parameter.name());
        NDArray array = parameter.array();
        array.addi(scratch.create(values, array.getShape()).mul((float) step));
      }
    }
  }
}
