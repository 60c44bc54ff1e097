package io.peft4j.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.TrainableParameter;
import io.peft4j.torch.GradMode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

final class AdamWTest {
  private static final double RATE = 0.01;
  private NDManager manager;

  @BeforeEach
  void open() {
    manager = NDManager.newBaseManager("PyTorch");
  }

  @AfterEach
  void close() {
    manager.close();
  }

  @Test
  void takesTheStepsThatTorchTakes() {
    JsonNode golden = Golden.read("adamw");
    Map<String, TrainableParameter> parameters =
        Golden.parameters(manager, golden.get("shapes"), golden.get("start"));
    try (AdamW optimizer = optimizer(golden, parameters)) {
      for (int step = 0; step < golden.get("gradients").size(); step++) {
        give(parameters, golden.get("gradients").get(step));
        optimizer.step(golden.get("lr").asDouble());
        optimizer.zeroGradients();
        assertValues(golden.get("values").get(step), parameters, "step " + step);
      }
      Map<String, NDArray> state = optimizer.state(manager);
      assertEquals(3 * parameters.size(), state.size());
      for (String name : parameters.keySet()) {
        JsonNode expected = golden.get("state").get(name);
        assertArrayEquals(
            Golden.floats(expected.get("exp_avg")),
            state.get("exp_avg.default." + name).toFloatArray(),
            1e-6f);
        assertArrayEquals(
            Golden.floats(expected.get("exp_avg_sq")),
            state.get("exp_avg_sq.default." + name).toFloatArray(),
            1e-6f);
        assertEquals(
            expected.get("step").get(0).asDouble(), state.get("step.default." + name).getFloat());
      }
    }
  }

  @Test
  void goesOnFromSavedState() {
    JsonNode golden = Golden.read("adamw");
    JsonNode gradients = golden.get("gradients");
    Map<String, TrainableParameter> parameters =
        Golden.parameters(manager, golden.get("shapes"), golden.get("start"));
    SortedMap<String, NDArray> state;
    try (AdamW optimizer = optimizer(golden, parameters)) {
      for (int step = 0; step < 13; step++) {
        give(parameters, gradients.get(step));
        optimizer.step(golden.get("lr").asDouble());
        optimizer.zeroGradients();
      }
      state = optimizer.state(manager);
    }
    try (AdamW optimizer = optimizer(golden, parameters)) {
      // What is loaded replaces what is there.
      give(parameters, gradients.get(0));
      optimizer.step(0);
      optimizer.zeroGradients();
      optimizer.loadState(state);
      for (int step = 13; step < gradients.size(); step++) {
        give(parameters, gradients.get(step));
        optimizer.step(golden.get("lr").asDouble());
        optimizer.zeroGradients();
      }
    }
    assertValues(golden.get("values").get(gradients.size() - 1), parameters, "end");
  }

  @Test
  void leavesParametersWithoutGradientAlone() {
    TrainableParameter used = parameter("used", 1, 2);
    TrainableParameter unused = parameter("unused", 3);
    try (AdamW optimizer = optimizer(List.of(used, unused))) {
      backward(used.array());
      backward(unused.array());
      optimizer.step(RATE);
      optimizer.zeroGradients();
      float before = unused.array().getFloat(0);
      float usedBefore = used.array().getFloat(0);
      backward(used.array());
      optimizer.step(RATE);
      assertEquals(before, unused.array().getFloat(0));
      assertTrue(used.array().getFloat(0) < usedBefore);
      assertEquals(1f, optimizer.state(manager).get("step.unused").getFloat());
      assertEquals(2f, optimizer.state(manager).get("step.used").getFloat());
    }
  }

  @Test
  void aGradientOfZerosIsAGradient() {
    TrainableParameter parameter = parameter("p", 2);
    try (AdamW optimizer =
        new AdamW(
            List.of(new ParameterGroup(List.of(parameter), 1, 0.5)),
            OptimizerSettings.builder().build())) {
      optimizer.step(RATE);
      assertEquals(2f, parameter.array().getFloat(0));
      give(parameter.array(), manager.zeros(new Shape(1)));
      optimizer.step(RATE);
      assertEquals(2 * (1 - 0.5f * (float) RATE), parameter.array().getFloat(0), 1e-7f);
    }
  }

  @Test
  void forgetsGradientsFromBefore() {
    TrainableParameter parameter = parameter("p", 2);
    backward(parameter.array());
    try (AdamW optimizer = optimizer(List.of(parameter))) {
      optimizer.step(RATE);
      assertEquals(2f, parameter.array().getFloat(0));
    }
  }

  @Test
  void takesMoreTensorsThanOneCallDoes() {
    List<TrainableParameter> many = new ArrayList<>();
    for (int i = 0; i < 71; i++) {
      many.add(parameter("p" + i, i));
      backward(many.get(i).array());
    }
    try (AdamW optimizer = optimizer(many)) {
      many.forEach(parameter -> backward(parameter.array()));
      optimizer.step(RATE);
    }
    for (int i = 0; i < 71; i++) {
      // The first step is the rate in the gradient's direction.
      assertEquals(i - RATE, many.get(i).array().getFloat(0), 1e-5);
    }
  }

  @Test
  void holdsOnToNothing() {
    List<TrainableParameter> parameters = List.of(parameter("a", 1, 2), parameter("b", 3));
    int arrays = manager.getManagedArrays().size();
    try (AdamW optimizer = optimizer(parameters)) {
      for (int step = 0; step < 50; step++) {
        parameters.forEach(parameter -> give(parameter.array(), parameter.array().onesLike()));
        Gradients.clip(parameters, 1e-3);
        optimizer.step(RATE);
        optimizer.zeroGradients();
      }
      // The test's own two arrays a backward pass are freed with their scope.
      assertEquals(arrays, manager.getManagedArrays().size());
    }
  }

  @Test
  void refusesStateThatDoesNotFit() {
    TrainableParameter parameter = parameter("p", 1, 2);
    try (AdamW optimizer = optimizer(List.of(parameter))) {
      backward(parameter.array());
      optimizer.step(RATE);
      Map<String, NDArray> state = new HashMap<>(optimizer.state(manager));
      Map<String, NDArray> wrongShape = new HashMap<>(state);
      wrongShape.put("exp_avg.p", manager.zeros(new Shape(3)));
      assertMessage("(2)", () -> optimizer.loadState(wrongShape));
      Map<String, NDArray> incomplete = new HashMap<>(state);
      incomplete.remove("exp_avg_sq.p");
      assertMessage("3 for each", () -> optimizer.loadState(incomplete));
      Map<String, NDArray> other = new HashMap<>(state);
      other.put("step.q", manager.create(1f));
      assertMessage("step.q", () -> optimizer.loadState(other));
      assertEquals(1f, optimizer.state(manager).get("step.p").getFloat());
    }
  }

  private static void assertMessage(String part, Runnable call) {
    String message = assertThrows(AdapterStateException.class, call::run).getMessage();
    assertTrue(message.contains(part), message);
  }

  @Test
  void refusesWhatItCannotTrain() {
    NDArray half = manager.zeros(new Shape(2), DataType.FLOAT16);
    half.setRequiresGradient(true);
    NDArray frozen = manager.zeros(new Shape(2));
    TrainableParameter twice = parameter("twice", 1);
    for (List<TrainableParameter> wrong :
        List.of(
            List.<TrainableParameter>of(),
            List.of(new TrainableParameter("", "half", half)),
            List.of(new TrainableParameter("", "frozen", frozen)),
            List.of(twice, twice))) {
      assertThrows(InvalidConfigException.class, () -> optimizer(wrong));
    }
  }

  private AdamW optimizer(JsonNode golden, Map<String, TrainableParameter> parameters) {
    List<ParameterGroup> groups = new ArrayList<>();
    for (JsonNode group : golden.get("groups")) {
      List<TrainableParameter> members = new ArrayList<>();
      group.get("params").forEach(name -> members.add(parameters.get(name.asText())));
      groups.add(
          new ParameterGroup(
              members, group.get("lr_factor").asDouble(), group.get("weight_decay").asDouble()));
    }
    return new AdamW(
        groups,
        OptimizerSettings.builder()
            .betas(golden.get("betas").get(0).asDouble(), golden.get("betas").get(1).asDouble())
            .epsilon(golden.get("eps").asDouble())
            .build());
  }

  private static AdamW optimizer(List<TrainableParameter> parameters) {
    return new AdamW(
        List.of(new ParameterGroup(parameters, 1, 0)), OptimizerSettings.builder().build());
  }

  private TrainableParameter parameter(String name, float... values) {
    NDArray array = manager.create(values);
    array.setRequiresGradient(true);
    return new TrainableParameter("", name, array);
  }

  private void give(Map<String, TrainableParameter> parameters, JsonNode gradients) {
    parameters.forEach(
        (name, parameter) -> {
          if (!gradients.get(name).isNull()) {
            NDArray array = parameter.array();
            give(array, manager.create(Golden.floats(gradients.get(name)), array.getShape()));
          }
        });
  }

  private static void backward(NDArray parameter) {
    give(parameter, parameter.onesLike());
  }

  /** Adds to an array's gradient; the gradient given is closed. */
  private static void give(NDArray array, NDArray gradient) {
    try (GradMode on = GradMode.on();
        gradient;
        NDArray same = array.mul(1)) {
      JniUtils.backward((PtNDArray) same, (PtNDArray) gradient, false, false);
    }
  }

  private static void assertValues(
      JsonNode expected, Map<String, TrainableParameter> parameters, String when) {
    parameters.forEach(
        (name, parameter) ->
            assertArrayEquals(
                Golden.floats(expected.get(name)),
                parameter.array().toFloatArray(),
                1e-6f,
                () -> when + " " + name));
  }
}
