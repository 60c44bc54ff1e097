package io.peft4j.full;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.Peft;
import io.peft4j.PeftException;
import io.peft4j.PeftModel;
import io.peft4j.TrainableParameter;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.state.Json;
import io.peft4j.state.SafeTensors;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Precision;
import io.peft4j.train.Batch;
import io.peft4j.train.LossRun;
import io.peft4j.train.Losses;
import io.peft4j.train.OptimizerSettings;
import io.peft4j.train.Trainable;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Runs that torch made: the same losses, the same model at the end, and files that load again. */
final class FullTrainingTest {
  private static final Path ROOT = Path.of(System.getProperty("peft4j.golden"));
  private static final double TOLERANCE = 1e-5;

  /** By how much more than another order of sums in torch itself the ends may differ. */
  private static final double ROUNDING_FACTOR = 10;

  @TempDir Path temporary;

  private static PretrainedModel model(Path directory) {
    return PretrainedModel.load(
        directory, LoadOptions.builder().precision(Precision.FLOAT32).build());
  }

  private static PretrainedModel golden(String name) {
    return model(ROOT.resolve("models").resolve(name));
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama", "llama-tied", "gpt2", "bert-classifier"})
  void aRunIsTorchs(String name) {
    Path directory = ROOT.resolve("full").resolve(name);
    ObjectNode description = Json.readObject(directory.resolve("case.json"));
    List<String> frozen = new ArrayList<>();
    for (JsonNode part : description.get("freeze")) {
      frozen.add(part.textValue().replaceAll("\\.$", ""));
    }
    FullConfig config = FullConfig.builder().freeze(frozen.toArray(String[]::new)).build();
    try (PretrainedModel base = golden(name);
        NDManager manager = NDManager.newBaseManager("PyTorch");
        SafeTensors io = SafeTensors.open(directory.resolve("io.safetensors"));
        SafeTensors end = SafeTensors.open(directory.resolve("final.safetensors"));
        PeftModel model = Peft.wrap(base, config)) {
      LossRun run =
          LossRun.of(
              Trainable.of(model),
              batches(manager, io),
              name.endsWith("-classifier") ? Losses.crossEntropy() : Losses.causalLanguageModel(),
              settings(description));

      assertClose(io.float32(manager, "losses"), run.losses());
      assertClose(io.float32(manager, "grad_norms"), run.gradientNorms());
      double rounding = description.get("rounding").get("final").asDouble();
      double tolerance = Math.max(TOLERANCE, ROUNDING_FACTOR * rounding);
      model.mergeAndUnload();
      Path saved = temporary.resolve(name);
      base.save(saved);
      try (SafeTensors whole = SafeTensors.open(saved.resolve("model.safetensors"))) {
        for (String parameter : end.names()) {
          float[] expected = end.float32(manager, parameter).toFloatArray();
          float[] actual = whole.float32(manager, parameter).toFloatArray();
          assertArrayEquals(expected, actual, (float) tolerance, parameter);
        }
        assertEquals(end.names(), whole.names(), "tied parameters are saved once");
      }
    }
  }

  @Test
  void whatIsSavedComesBack() {
    Path directory = temporary.resolve("adapter");
    try (PretrainedModel base = golden("llama");
        NDManager manager = NDManager.newBaseManager("PyTorch");
        PeftModel model =
            Peft.wrap(base, FullConfig.builder().freeze("embed_tokens", "layers.[0]").build())) {
      for (TrainableParameter parameter : model.trainableParameters()) {
        try (GradMode off = GradMode.off()) {
          parameter.array().addi(0.01f);
        }
      }
      NDList inputs = inputs(manager);
      float[] moved = model.forward(inputs).head().toFloatArray();
      model.save(directory);
      model.mergeAndUnload();
      base.save(temporary.resolve("whole"));
      try (PretrainedModel other = golden("llama");
          PeftModel again = PeftModel.load(other, directory)) {
        assertArrayEquals(moved, again.forward(inputs).head().toFloatArray());
      }
      try (PretrainedModel whole = model(temporary.resolve("whole"))) {
        assertArrayEquals(moved, whole.forward(inputs).head().toFloatArray());
      }
    }
  }

  @Test
  void frozenParametersAreNotAmongTheTrained() {
    try (PretrainedModel base = golden("llama-tied");
        PeftModel model =
            Peft.wrap(base, FullConfig.builder().freeze("embed_tokens", "norm").build())) {
      List<String> names = model.trainableParameters().stream().map(p -> p.name()).toList();
      assertTrue(names.contains("model.layers.0.self_attn.q_proj.weight"), names::toString);
      assertTrue(names.contains("model.layers.0.input_layernorm.weight"), names::toString);
      assertTrue(names.stream().noneMatch(n -> n.contains("embed_tokens")), names::toString);
      assertTrue(names.stream().noneMatch(n -> n.equals("model.norm.weight")), names::toString);
      assertEquals(
          base.layout().parameterCount(), model.trainableParameterReport().all(), "none is added");
    }
  }

  @Test
  void aPatternThatMatchesNothingIsNamed() {
    try (PretrainedModel base = golden("llama")) {
      String message =
          assertThrows(
                  InvalidConfigException.class,
                  () -> Peft.wrap(base, FullConfig.builder().freeze("embed_token").build()))
              .getMessage();
      assertTrue(message.contains("freeze 'embed_token'"), message);
      assertTrue(message.contains("embed_tokens"), message);
      message =
          assertThrows(
                  InvalidConfigException.class,
                  () -> Peft.wrap(base, FullConfig.builder().freeze(".*").build()))
              .getMessage();
      assertTrue(message.contains("leaves no parameter to train"), message);
      message =
          assertThrows(
                  InvalidConfigException.class,
                  () -> FullConfig.builder().freeze("layers[").build())
              .getMessage();
      assertTrue(message.contains("layers["), message);
    }
  }

  @Test
  void tensorsOfAnotherModelAreRefused() throws Exception {
    Path directory = temporary.resolve("adapter");
    try (PretrainedModel base = golden("llama");
        PeftModel model = Peft.wrap(base, FullConfig.builder().freeze("layers").build())) {
      model.save(directory);
    }
    assertTrue(Files.exists(directory.resolve("adapter_model.safetensors")));
    try (PretrainedModel other = golden("gpt2")) {
      String message =
          assertThrows(PeftException.class, () -> PeftModel.load(other, directory)).getMessage();
      assertTrue(message.contains("freeze 'layers' matches no parameter"), message);
    }
    try (PretrainedModel other = golden("qwen3")) {
      String message =
          assertThrows(PeftException.class, () -> PeftModel.load(other, directory)).getMessage();
      assertTrue(message.contains("does not fit this qwen3 model"), message);
    }
  }

  private static NDList inputs(NDManager manager) {
    NDArray ids = manager.create(new long[][] {{5, 9, 42, 7, 3}});
    ids.setName("input_ids");
    return new NDList(ids);
  }

  private static OptimizerSettings settings(ObjectNode description) {
    JsonNode optimizer = description.get("optimizer");
    return OptimizerSettings.builder()
        .learningRate(optimizer.get("lr").asDouble())
        .weightDecay(optimizer.get("weight_decay").asDouble())
        .maxGradientNorm(description.get("max_grad_norm").asDouble())
        .build();
  }

  private static List<Supplier<Batch>> batches(NDManager manager, SafeTensors io) {
    List<Supplier<Batch>> batches = new ArrayList<>();
    for (int i = 0; i < io.info("losses").shape().get(0); i++) {
      int step = i;
      batches.add(
          () -> {
            NDManager own = manager.newSubManager();
            NDArray ids = at(io, "input_ids", step, own);
            ids.setName("input_ids");
            NDArray mask = at(io, "attention_mask", step, own);
            mask.setName("attention_mask");
            return new Batch(own, new NDList(ids, mask), new NDList(at(io, "labels", step, own)));
          });
    }
    return batches;
  }

  private static NDArray at(SafeTensors io, String name, int step, NDManager owner) {
    NDArray part = io.array(owner, name).get(step).duplicate();
    part.setName(null);
    part.attach(owner);
    return part;
  }

  private static void assertClose(NDArray expected, List<Double> actual) {
    float[] values = expected.toFloatArray();
    assertEquals(values.length, actual.size());
    for (int step = 0; step < values.length; step++) {
      assertEquals(values[step], actual.get(step), TOLERANCE * Math.max(1, Math.abs(values[step])));
    }
  }
}
