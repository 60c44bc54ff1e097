package io.peft4j.qlora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.AdapterSet;
import io.peft4j.ForwardMode;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.TrainableParameter;
import io.peft4j.lora.LoraConfig;
import io.peft4j.lora.LoraConfigBuilder;
import io.peft4j.lora.LoraInitialization;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.SaveOptions;
import io.peft4j.nn.TrainingOptions;
import io.peft4j.qlora.block.QuantType;
import io.peft4j.state.Checkpoint;
import io.peft4j.state.Json;
import io.peft4j.target.Targets;
import io.peft4j.testkit.LiveArrays;
import io.peft4j.torch.GradMode;
import io.peft4j.train.Batch;
import io.peft4j.train.Losses;
import io.peft4j.train.Trainable;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Adapters over a base in 4 bits do what they do over a dense base with the same values. */
final class FourBitTrainingTest {
  private static final double TOLERANCE = 1e-5;
  private static final TrainingOptions RECOMPUTED = new TrainingOptions(true, 0);

  @TempDir private Path temporary;

  private record Step(double loss, Map<String, float[]> gradients) {
    void assertClose(Step other, String what) {
      assertEquals(loss, other.loss, TOLERANCE * Math.abs(loss), what);
      assertEquals(gradients.keySet(), other.gradients.keySet(), what);
      double all =
          gradients.values().stream().mapToDouble(FourBitTrainingTest::norm).max().orElse(0);
      assertTrue(all > 0, "no gradients");
      gradients.forEach(
          (name, values) -> {
            float[] actual = other.gradients.get(name);
            float[] difference = new float[values.length];
            for (int i = 0; i < values.length; i++) {
              difference[i] = values[i] - actual[i];
            }
            double error = norm(difference) / Math.max(norm(values), 1e-3 * all);
            assertTrue(error <= TOLERANCE, what + ": " + name + " differs by " + error);
          });
    }
  }

  private static double norm(float[] values) {
    double sum = 0;
    for (float value : values) {
      sum += (double) value * value;
    }
    return Math.sqrt(sum);
  }

  private static Step step(PeftModel model, Trainable trainable) {
    Engine.getEngine("PyTorch").setRandomSeed(5);
    NDManager manager = NDManager.newBaseManager("PyTorch");
    double loss;
    NDList inputs = Bases.inputs(manager, 3, 11);
    NDArray labels = inputs.get(0).duplicate();
    try (Batch batch = new Batch(manager, inputs, new NDList(labels));
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      loss =
          trainable.accumulateGradients(
              batch, Losses.causalLanguageModel(), ForwardMode.TRAINING_WITHOUT_DROPOUT, 1);
    }
    Map<String, float[]> gradients = new TreeMap<>();
    for (TrainableParameter parameter : model.trainableParameters()) {
      PtNDArray array = (PtNDArray) parameter.array();
      try (NDArray gradient = JniUtils.getGradient(array)) {
        gradients.put(
            parameter.adapter() + "." + parameter.name(),
            gradient == null ? new float[(int) array.getShape().size()] : gradient.toFloatArray());
        if (gradient != null) {
          JniUtils.zeroGrad(array);
        }
      }
    }
    return new Step(loss, gradients);
  }

  private static Trainable recorded(PeftModel model) {
    return Trainable.of(model::forward, model.trainableParameters());
  }

  private static float[] output(PeftModel model, AdapterSet set) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      return model.with(set).forward(Bases.inputs(manager, 3, 11)).head().toFloatArray();
    }
  }

  private static LoraConfigBuilder all() {
    return LoraConfig.builder()
        .rank(4)
        .alpha(12)
        .targetModules(Targets.allLinear())
        .initialization(LoraInitialization.Kind.RANDOM);
  }

  /** Gives another model the adapters of a first, and lets the same act and be trained. */
  private static void copy(PeftModel from, PeftModel to) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      for (String name : from.adapterNames()) {
        to.addAdapter(
            name,
            LoraConfig.fromJson(from.adapter(name).state().config()),
            from.stateDict(name, manager));
      }
    }
    to.setActiveAdapters(from.activeAdapters());
    to.trainAdapters(from.trainedAdapters().toArray(String[]::new));
  }

  private static void assertSame(PeftModel packed, PeftModel dense) {
    Step expected = step(dense, recorded(dense));
    expected.assertClose(step(packed, recorded(packed)), "recorded");
    expected.assertClose(step(packed, Trainable.of(packed)), "by hand where it can be");
    expected.assertClose(step(packed, Trainable.of(packed, RECOMPUTED)), "recomputed");
    assertArrayEquals(
        output(dense, dense.activeAdapters()), output(packed, packed.activeAdapters()), 1e-5f);
  }

  private static void check(String name, BitsAndBytesConfig quantization, LoraConfig lora) {
    QloraConfig config = QloraConfig.builder().lora(lora).quantization(quantization).build();
    try (PretrainedModel base = Bases.load(name);
        PeftModel model = Peft.wrap(base, config);
        PretrainedModel dense = Bases.dense(base);
        PeftModel same = Peft.open(dense)) {
      assertFalse(Bases.bytes(base).isEmpty(), "nothing is in 4 bits");
      copy(model, same);
      assertSame(model, same);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"llama", "llama-f16", "llama-tied", "gpt2", "gemma2", "qwen2", "qwen3", "phi3"})
  void gradientsOfEveryFamily(String name) {
    check(name, Bases.NF4, all().build());
    check(
        name,
        BitsAndBytesConfig.builder().type(QuantType.FP4).blockSize(32).build(),
        all().build());
  }

  @Test
  void gradientsOfEveryFeature() {
    List<UnaryOperator<LoraConfigBuilder>> features =
        List.of(
            c -> c.useDora(true),
            c ->
                c.useRslora(true)
                    .rankPattern(Map.of("o_proj", 2))
                    .alphaPattern(Map.of("v_proj", 3)),
            c -> c.modulesToSave("lm_head", "norm"),
            c -> c.loraBias(true),
            c -> c.targetModules("embed_tokens", "lm_head", "q_proj"),
            c -> c.trainableTokenIndices(5, 42).targetModules("down_proj"),
            c -> c.layersToTransform(1).targetModules("gate_proj"));
    features.forEach(feature -> check("llama", Bases.NF4, feature.apply(all()).build()));
    check("gpt2", Bases.NF4, all().useDora(true).build());
  }

  @Test
  void whatBeginsWithAPartOfTheBaseBeginsAsTheBase() {
    for (LoraInitialization.Kind kind :
        List.of(LoraInitialization.Kind.PISSA, LoraInitialization.Kind.OLORA)) {
      try (PretrainedModel base = Bases.quantized("llama", Bases.NF4);
          PeftModel model = Peft.wrap(base, all().initialization(kind).build());
          PretrainedModel plain = Bases.dense(base);
          PeftModel dense = Peft.open(plain)) {
        assertArrayEquals(
            output(model, AdapterSet.none()), output(model, model.activeAdapters()), 1e-5f);
        try (GradMode off = GradMode.off()) {
          model.trainableParameters().forEach(parameter -> parameter.array().muli(1.5f));
        }
        copy(model, dense);
        assertArrayEquals(
            output(dense, dense.activeAdapters()), output(model, model.activeAdapters()), 1e-4f);
      }
    }
  }

  @Test
  void severalAdaptersTogetherAndByRow() {
    try (PretrainedModel base = Bases.quantized("llama", Bases.NF4);
        PretrainedModel plain = Bases.dense(base);
        PeftModel model = Peft.wrap(base, all().build());
        PeftModel dense = Peft.open(plain)) {
      model.addAdapter(
          "dora", all().rank(2).useDora(true).targetModules("v_proj", "down_proj").build());
      model.addAdapter("head", all().modulesToSave("lm_head").build());
      model.setActiveAdapters(AdapterSet.none().and(Peft.DEFAULT_ADAPTER, 0.5).and("dora", -1));
      model.trainAdapters(Peft.DEFAULT_ADAPTER, "dora");
      copy(model, dense);
      assertSame(model, dense);

      AdapterSet rows = AdapterSet.rows("head", AdapterSet.BASE, "dora");
      model.setActiveAdapters(rows);
      dense.setActiveAdapters(rows);
      model.trainAdapters("head", "dora");
      dense.trainAdapters("head", "dora");
      assertSame(model, dense);
    }
  }

  @Test
  void theAdapterIsSavedAsIfTheBaseWereDense() {
    Path target = temporary.resolve("adapter");
    QloraConfig config = QloraConfig.builder().lora(all().build()).build();
    try (PretrainedModel base = Bases.load("llama");
        PeftModel model = Peft.wrap(base, config)) {
      assertEquals("LORA", model.adapter(Peft.DEFAULT_ADAPTER).config().peftType());
      model.save(target);
      float[] expected = output(model, model.activeAdapters());
      try (PretrainedModel dense = Bases.dense(base);
          PeftModel again = PeftModel.load(dense, target)) {
        assertArrayEquals(expected, output(again, again.activeAdapters()), 1e-5f);
      }
    }
    Path dense = temporary.resolve("dense");
    try (PretrainedModel base = Bases.load("llama");
        PeftModel model = Peft.wrap(base, all().build())) {
      model.save(dense);
    }
    assertEquals(
        Json.readObject(dense.resolve("adapter_config.json")),
        Json.readObject(target.resolve("adapter_config.json")));
  }

  @Test
  void aBaseQuantizedInPlaceIsThatQuantizedWhileLoading() {
    Path saved = temporary.resolve("in-place");
    for (String name : List.of("llama", "llama-f16", "llama-tied", "gpt2")) {
      try (PretrainedModel base = Bases.quantized(name, Bases.NF4);
          PretrainedModel loaded =
              PretrainedModel.load(
                  Bases.GOLDEN.resolve("models").resolve(name),
                  LoadOptions.builder().quantization(Bases.NF4).build())) {
        Map<String, ByteBuffer> expected = Bases.bytes(loaded);
        assertFalse(expected.isEmpty());
        assertEquals(expected, Bases.bytes(base), name);
        base.save(saved.resolve(name), SaveOptions.builder().asStored().build());
      }
      // With the settings that say how it is to be read.
      try (PretrainedModel again = PretrainedModel.load(saved.resolve(name), Bases.FLOAT32);
          Checkpoint file = Checkpoint.open(saved.resolve(name))) {
        assertFalse(Bases.bytes(again).isEmpty());
        assertTrue(
            file.names().stream().anyMatch(n -> n.endsWith("quant_state.bitsandbytes__nf4")));
      }
    }
  }

  @Test
  void nothingIsLeftBehind() {
    int before = LiveArrays.count();
    QloraConfig config =
        QloraConfig.builder()
            .lora(LoraConfig.builder().rank(2).targetModules("q_proj").useDora(true).build())
            .initialization(QloraInitialization.LOFTQ)
            .build();
    try (PretrainedModel base = Bases.load("llama");
        PeftModel model = Peft.wrap(base, config)) {
      step(model, Trainable.of(model));
      int live = LiveArrays.count();
      step(model, Trainable.of(model));
      step(model, Trainable.of(model, RECOMPUTED));
      output(model, model.activeAdapters());
      LiveArrays.assertCount(live, "steps");
    }
    LiveArrays.assertCount(before, "closing");
  }
}
