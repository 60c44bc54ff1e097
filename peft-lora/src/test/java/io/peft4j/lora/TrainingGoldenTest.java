package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import io.peft4j.state.Json;
import io.peft4j.train.Batch;
import io.peft4j.train.Loss;
import io.peft4j.train.LossRun;
import io.peft4j.train.Losses;
import io.peft4j.train.OptimizerSettings;
import io.peft4j.train.Trainable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Runs that PEFT made: from the same adapter over the same batches, the same losses and end. */
final class TrainingGoldenTest {
  private static final double TOLERANCE = 1e-5;

  /** By how much more than another order of sums in PEFT itself the ends may differ. */
  private static final double ROUNDING_FACTOR = 10;

  @TestFactory
  Stream<DynamicTest> runs() throws IOException {
    return Golden.directories("training").stream()
        .map(dir -> DynamicTest.dynamicTest(dir.getFileName().toString(), () -> check(dir)));
  }

  private static void check(Path directory) {
    ObjectNode description = Json.readObject(directory.resolve("case.json"));
    String name = description.get("base").textValue();
    try (PretrainedModel base = Golden.model(name);
        NDManager manager = NDManager.newBaseManager("PyTorch");
        PeftModel model = PeftModel.load(base, directory.resolve("start"))) {
      model.trainAdapters(Peft.DEFAULT_ADAPTER);
      Map<String, NDArray> io = Golden.tensors(manager, directory.resolve("io.safetensors"));

      LossRun run = LossRun.of(Trainable.of(model), batches(io), loss(name), settings(description));

      assertClose(io.get("losses"), run.losses(), "losses");
      assertClose(io.get("grad_norms"), run.gradientNorms(), "gradient norms");
      checkEnd(model, manager, directory, description);
    }
  }

  private static Loss loss(String base) {
    return switch (base.substring(base.lastIndexOf('-') + 1)) {
      case "classifier" -> Losses.crossEntropy();
      case "tokens" -> Losses.tokenClassification();
      case "answers" -> Losses.questionAnswering();
      default -> Losses.causalLanguageModel();
    };
  }

  private static OptimizerSettings settings(ObjectNode description) {
    ObjectNode optimizer = (ObjectNode) description.get("optimizer");
    return OptimizerSettings.builder()
        .learningRate(optimizer.get("lr").asDouble())
        .betas(optimizer.get("betas").get(0).asDouble(), optimizer.get("betas").get(1).asDouble())
        .epsilon(optimizer.get("eps").asDouble())
        .weightDecay(optimizer.get("weight_decay").asDouble())
        .maxGradientNorm(description.get("max_grad_norm").asDouble())
        .build();
  }

  private static List<Supplier<Batch>> batches(Map<String, NDArray> io) {
    List<Supplier<Batch>> batches = new ArrayList<>();
    for (int i = 0; i < io.get("losses").size(); i++) {
      int step = i;
      batches.add(
          () -> {
            NDManager own = NDManager.newBaseManager("PyTorch");
            return new Batch(
                own,
                new NDList(at(io, "input_ids", step, own), at(io, "attention_mask", step, own)),
                labels(io, step, own));
          });
    }
    return batches;
  }

  private static NDList labels(Map<String, NDArray> io, int step, NDManager owner) {
    return io.containsKey("labels")
        ? new NDList(at(io, "labels", step, owner))
        : new NDList(at(io, "start_positions", step, owner), at(io, "end_positions", step, owner));
  }

  private static NDArray at(Map<String, NDArray> io, String name, int step, NDManager owner) {
    NDArray array = io.get(name).get(step).duplicate();
    array.attach(owner);
    return array;
  }

  private static void assertClose(NDArray expected, List<Double> actual, String what) {
    float[] values = expected.toFloatArray();
    assertEquals(values.length, actual.size());
    for (int step = 0; step < values.length; step++) {
      double difference = Math.abs(values[step] - actual.get(step));
      assertTrue(
          difference <= TOLERANCE * Math.max(1, Math.abs(values[step])),
          what + " of step " + step + ": " + actual.get(step) + ", PEFT's is " + values[step]);
    }
  }

  private static void checkEnd(
      PeftModel model, NDManager manager, Path directory, ObjectNode description) {
    Path converted = directory.resolve("final-converted");
    Path end = Files.exists(converted) ? converted : directory.resolve("final");
    Map<String, NDArray> expected =
        Golden.tensors(manager, end.resolve("adapter_model.safetensors"));
    Map<String, NDArray> actual = model.stateDict(Peft.DEFAULT_ADAPTER, manager);
    assertEquals(expected.keySet(), actual.keySet());
    double rounding = description.get("rounding").get("final").asDouble();
    expected.forEach(
        (name, array) ->
            Golden.assertClose(
                array, actual.get(name), Math.max(TOLERANCE, ROUNDING_FACTOR * rounding), name));
  }
}
