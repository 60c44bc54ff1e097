package io.peft4j.qlora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.lora.LoraConfig;
import io.peft4j.models.PretrainedModel;
import io.peft4j.nn.TrainingOptions;
import io.peft4j.state.Json;
import io.peft4j.state.SafeTensors;
import io.peft4j.target.Targets;
import io.peft4j.train.Batch;
import io.peft4j.train.LossRun;
import io.peft4j.train.Losses;
import io.peft4j.train.OptimizerSettings;
import io.peft4j.train.Trainable;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Runs that PEFT made over the values of bases in 4 bits, and what its LoftQ begins with. */
final class QloraGoldenTest {
  private static final Path FOLDER = Bases.GOLDEN.resolve("qlora");
  private static final double TOLERANCE = 1e-5;

  @ParameterizedTest
  @CsvSource({
    "llama-nf4-all-linear, false",
    "llama-nf4-all-linear, true",
    "llama-tied-nf4-dora, false",
    "llama-tied-nf4-dora, true",
    "gpt2-fp4-all-linear, false",
    "gpt2-fp4-all-linear, true"
  })
  void lossesAreThoseOfPeft(String name, boolean recomputed) {
    Path folder = FOLDER.resolve(name);
    ObjectNode golden = Json.readObject(folder.resolve("case.json"));
    BitsAndBytesConfig config =
        BitsAndBytesConfig.read((ObjectNode) golden.get("quantization"), "golden");
    try (PretrainedModel base = Bases.quantized(golden.get("base").textValue(), config);
        PeftModel model = PeftModel.load(base, folder.resolve("start"));
        NDManager manager = NDManager.newBaseManager("PyTorch");
        SafeTensors io = SafeTensors.open(folder.resolve("io.safetensors"))) {
      model.trainAdapters(Peft.DEFAULT_ADAPTER);
      int steps = golden.get("steps").intValue();
      List<Supplier<Batch>> batches = new ArrayList<>();
      for (int i = 0; i < steps; i++) {
        int step = i;
        batches.add(() -> batch(io, step));
      }
      LossRun run =
          LossRun.of(
              Trainable.of(model, new TrainingOptions(recomputed, 0)),
              batches,
              Losses.causalLanguageModel(),
              settings(golden));
      assertClose(io.array(manager, "losses"), run.losses(), "loss");
      assertClose(io.array(manager, "grad_norms"), run.gradientNorms(), "gradient norm");
    }
  }

  private static Batch batch(SafeTensors io, int step) {
    NDManager own = NDManager.newBaseManager("PyTorch");
    return new Batch(
        own,
        new NDList(at(io, "input_ids", step, own), at(io, "attention_mask", step, own)),
        new NDList(at(io, "labels", step, own)));
  }

  private static NDArray at(SafeTensors io, String name, int step, NDManager owner) {
    NDArray array = io.array(owner, name).get(step).duplicate();
    array.setName(null);
    return array;
  }

  private static OptimizerSettings settings(ObjectNode golden) {
    var optimizer = golden.get("optimizer");
    return OptimizerSettings.builder()
        .learningRate(optimizer.get("lr").asDouble())
        .betas(optimizer.get("betas").get(0).asDouble(), optimizer.get("betas").get(1).asDouble())
        .epsilon(optimizer.get("eps").asDouble())
        .weightDecay(optimizer.get("weight_decay").asDouble())
        .maxGradientNorm(golden.get("max_grad_norm").asDouble())
        .build();
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

  @Test
  void loftqBeginsWithTheProductsOfPeft() {
    Path folder = FOLDER.resolve("llama-nf4-all-linear");
    ObjectNode golden = Json.readObject(folder.resolve("case.json"));
    int rank = golden.get("loftq_rank").intValue();
    QloraConfig config =
        QloraConfig.builder()
            .lora(
                LoraConfig.builder()
                    .rank(rank)
                    .alpha(rank)
                    .targetModules(Targets.allLinear())
                    .build())
            .quantization(Bases.NF4)
            .initialization(QloraInitialization.LOFTQ)
            .build();
    try (PretrainedModel base = Bases.load("llama");
        PeftModel model = Peft.wrap(base, config);
        NDManager manager = NDManager.newBaseManager("PyTorch");
        SafeTensors io = SafeTensors.open(folder.resolve("io.safetensors"))) {
      var tensors = model.stateDict(Peft.DEFAULT_ADAPTER, manager);
      int compared = 0;
      for (String name : io.names()) {
        if (name.startsWith("loftq.")) {
          String key = "base_model.model." + name.substring("loftq.".length());
          NDArray product =
              tensors.get(key + ".lora_B.weight").matMul(tensors.get(key + ".lora_A.weight"));
          NDArray expected = io.array(manager, name);
          float worst = product.sub(expected).abs().max().getFloat();
          assertTrue(worst <= 1e-6 + 1e-4 * expected.abs().max().getFloat(), name + ": " + worst);
          compared++;
        }
      }
      assertEquals(14, compared);
    }
  }
}
