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
import io.peft4j.train.BatchSource;
import io.peft4j.train.CheckpointSettings;
import io.peft4j.train.Losses;
import io.peft4j.train.OptimizerSettings;
import io.peft4j.train.ParameterGroups;
import io.peft4j.train.Trainer;
import io.peft4j.train.TrainingResult;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Runs that PEFT made with its LoRA+ optimizer: the same losses, end and state of the optimizer.
 */
final class LoraPlusGoldenTest {
  private static final double TOLERANCE = 1e-5;

  @TempDir Path output;

  @ParameterizedTest
  @ValueSource(strings = {"embedding", "dora", "bias"})
  void trainsAsPeftDoes(String name) {
    Path directory = Golden.ROOT.resolve("loraplus").resolve(name);
    ObjectNode description = Json.readObject(directory.resolve("case.json"));
    double rate = description.get("lr").asDouble();
    try (PretrainedModel base = Golden.model("llama");
        NDManager manager = NDManager.newBaseManager("PyTorch");
        PeftModel model = PeftModel.load(base, directory.resolve("start"))) {
      model.trainAdapters(Peft.DEFAULT_ADAPTER);
      Map<String, NDArray> io = Golden.tensors(manager, directory.resolve("io.safetensors"));

      TrainingResult result =
          Trainer.builder()
              .model(model)
              .loss(Losses.causalLanguageModel())
              .batches(BatchSource.of(batches(io)))
              .optimizer(
                  OptimizerSettings.builder()
                      .learningRate(rate)
                      .maxGradientNorm(description.get("max_grad_norm").asDouble())
                      .build())
              .parameterGroups(
                  ParameterGroups.withDecay(description.get("weight_decay").asDouble())
                      .noDecayForBiasesAndNorms()
                      .loraPlus(
                          description.get("ratio").asDouble(),
                          rate,
                          description.get("embedding_lr").asDouble()))
              .dropout(false)
              .checkpoints(CheckpointSettings.builder(output).build())
              .build()
              .run();

      assertClose(io.get("losses"), result.losses(), "losses");
      assertClose(io.get("grad_norms"), result.gradientNorms(), "gradient norms");
      Path checkpoint = output.resolve("checkpoint-8");
      compare(manager, directory.resolve("final"), checkpoint, "adapter_model.safetensors");
      compare(manager, directory, checkpoint, "optimizer.safetensors");
      // What a checkpoint has is an adapter like any other.
      model.loadAdapter("again", checkpoint);
    }
  }

  private static void compare(NDManager manager, Path expected, Path actual, String file) {
    Map<String, NDArray> tensors = Golden.tensors(manager, actual.resolve(file));
    tensors.keySet().removeIf(name -> name.startsWith("step."));
    Map<String, NDArray> golden = Golden.tensors(manager, expected.resolve(file));
    assertEquals(golden.keySet(), tensors.keySet());
    golden.forEach(
        (key, array) -> Golden.assertClose(array, tensors.get(key), TOLERANCE, file + " " + key));
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
                new NDList(at(io, "labels", step, own)));
          });
    }
    return batches;
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
}
