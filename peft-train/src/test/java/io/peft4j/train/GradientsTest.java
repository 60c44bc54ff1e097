package io.peft4j.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.TrainableParameter;
import io.peft4j.torch.GradMode;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

final class GradientsTest {
  @Test
  void clipsAsTorchDoes() {
    JsonNode cases = Golden.read("clipping");
    assertTrue(cases.size() >= 4);
    for (JsonNode one : cases) {
      try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
        List<TrainableParameter> parameters = new ArrayList<>();
        for (JsonNode gradient : one.get("gradients")) {
          parameters.add(withGradient(manager, Golden.floats(gradient)));
        }
        // One that takes no part in the loss counts for nothing.
        NDArray unused = manager.create(new float[] {1});
        unused.setRequiresGradient(true);
        parameters.add(new TrainableParameter("", "unused", unused));

        double norm = Gradients.clip(parameters, one.get("max_norm").asDouble());

        assertEquals(one.get("norm").asDouble(), norm, 1e-6 * one.get("norm").asDouble());
        for (int i = 0; i < one.get("clipped").size(); i++) {
          assertArrayEquals(
              Golden.floats(one.get("clipped").get(i)), gradient(parameters.get(i)), 1e-7f);
        }
      }
    }
  }

  @Test
  void infinityMeasuresOnly() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      TrainableParameter parameter = withGradient(manager, 3, 4);
      assertEquals(5, Gradients.clip(List.of(parameter), Double.POSITIVE_INFINITY));
      assertArrayEquals(new float[] {3, 4}, gradient(parameter));
    }
  }

  @Test
  void doesNotSpreadANormThatIsNotFinite() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      TrainableParameter bad = withGradient(manager, Float.POSITIVE_INFINITY);
      TrainableParameter good = withGradient(manager, 2);
      assertEquals(Double.POSITIVE_INFINITY, Gradients.clip(List.of(bad, good), 1));
      assertArrayEquals(new float[] {2}, gradient(good));
    }
  }

  private static TrainableParameter withGradient(NDManager manager, float... gradient) {
    NDArray array = manager.create(new float[gradient.length]);
    array.setRequiresGradient(true);
    try (GradMode on = GradMode.on()) {
      JniUtils.backward(
          (PtNDArray) array.mul(1), (PtNDArray) manager.create(gradient), false, false);
    }
    return new TrainableParameter("", "p" + array.getUid(), array);
  }

  private static float[] gradient(TrainableParameter parameter) {
    return parameter.array().getGradient().toFloatArray();
  }
}
