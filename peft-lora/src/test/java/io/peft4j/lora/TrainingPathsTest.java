package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.AdapterSet;
import io.peft4j.ForwardMode;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.TrainableParameter;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.nn.TrainingOptions;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.target.Targets;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Precision;
import io.peft4j.train.Batch;
import io.peft4j.train.Loss;
import io.peft4j.train.Losses;
import io.peft4j.train.Trainable;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The ways to compute a training step give the losses and gradients of the recorded pass. */
final class TrainingPathsTest {
  private static final double TOLERANCE = 1e-5;
  private static final TrainingOptions RECOMPUTED = new TrainingOptions(true, 0);
  private static final int ROWS = 3;
  private static final int LENGTH = 11;

  /** A loss, and the gradient of every parameter. */
  private record Step(double loss, Map<String, float[]> gradients) {

    void assertEqual(Step other) {
      assertEquals(loss, other.loss);
      assertEquals(gradients.keySet(), other.gradients.keySet());
      gradients.forEach(
          (name, values) -> assertArrayEquals(values, other.gradients.get(name), name));
    }

    /** Each tensor within a tolerance of its norm, or of what is nothing beside the others. */
    void assertClose(Step other, double tolerance) {
      assertEquals(loss, other.loss, tolerance * Math.abs(loss));
      assertEquals(gradients.keySet(), other.gradients.keySet());
      double all = gradients.values().stream().mapToDouble(TrainingPathsTest::norm).max().orElse(0);
      assertTrue(all > 0, "no gradients");
      gradients.forEach(
          (name, values) -> {
            float[] actual = other.gradients.get(name);
            float[] difference = new float[values.length];
            for (int i = 0; i < values.length; i++) {
              difference[i] = values[i] - actual[i];
            }
            double error = norm(difference) / Math.max(norm(values), 1e-3 * all);
            assertTrue(error <= tolerance, name + " differs by " + error);
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

  /** Records the whole pass, with all logits. */
  private static Trainable recorded(PeftModel model) {
    return Trainable.of(model::forward, model.trainableParameters());
  }

  private static Step step(PeftModel model, Trainable trainable, Loss loss, String padding) {
    return step(model, trainable, loss, padding, ForwardMode.TRAINING_WITHOUT_DROPOUT);
  }

  private static Step step(
      PeftModel model, Trainable trainable, Loss loss, String padding, ForwardMode mode) {
    Engine.getEngine("PyTorch").setRandomSeed(5);
    double value;
    try (Batch batch = batch(padding);
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      value = trainable.accumulateGradients(batch, loss, mode, 0.5);
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
    return new Step(value, gradients);
  }

  private static Batch batch(String padding) {
    NDManager manager = NDManager.newBaseManager("PyTorch");
    Random random = new Random(3);
    long[] ids = random.longs(ROWS * LENGTH, 3, 46).toArray();
    long[] labels = ids.clone();
    long[] mask = new long[ids.length];
    for (int row = 0; row < ROWS; row++) {
      int padded = padding.equals("none") ? 0 : 2 * row;
      for (int i = 0; i < LENGTH; i++) {
        int place = row * LENGTH + i;
        boolean hidden = padding.equals("left") ? i < padded : i >= LENGTH - padded;
        mask[place] = hidden ? 0 : 1;
        // Prompts do not count either.
        labels[place] = hidden || i % 5 == 2 ? Losses.IGNORED : labels[place];
      }
    }
    Shape shape = new Shape(ROWS, LENGTH);
    NDList inputs = new NDList(manager.create(ids, shape), manager.create(mask, shape));
    if (padding.equals("packed")) {
      // Sequences of other lengths in each row, padding is one.
      long[] numbers = new long[ids.length];
      for (int i = 0; i < ids.length; i++) {
        numbers[i] = mask[i] == 0 ? 9 : i % LENGTH / (2 + i / LENGTH);
      }
      inputs.add(manager.create(numbers, shape));
      inputs.get(0).setName("input_ids");
      inputs.get(1).setName("attention_mask");
      inputs.get(2).setName("sequence_ids");
    }
    return new Batch(manager, inputs, new NDList(manager.create(labels, shape)));
  }

  private static LoraConfigBuilder all() {
    return LoraConfig.builder()
        .rank(4)
        .alpha(12)
        .targetModules(Targets.allLinear())
        .initialization(LoraInitialization.Kind.RANDOM);
  }

  @ParameterizedTest
  @CsvSource({
    "llama, left",
    "llama, right",
    "llama-tied, none",
    "llama-gelu, right",
    "llama-f16, right",
    "mistral, left",
    "mistral, none",
    "qwen2, right",
    "qwen2-window, none",
    "qwen3, left",
    "qwen3-window, right",
    "phi3, right",
    "phi3-partial, none",
    "phi3-longrope, none",
    "gemma2, right",
    "gemma2, none",
    "gemma2-unbounded, left",
    "gemma3, right",
    "gpt2, right",
    "llama, packed",
    "qwen2-window, packed",
    "qwen3, packed",
    "gemma2, packed"
  })
  void gradientsAreThoseOfTheRecordedPass(String name, String padding) {
    try (PretrainedModel base = Golden.model(name);
        PeftModel model = Peft.wrap(base, all().build())) {
      for (double smoothing : new double[] {0, 0.1}) {
        Loss loss = Losses.causalLanguageModel(smoothing);
        Step expected = step(model, recorded(model), loss, padding);
        Step byHand = step(model, Trainable.of(model), loss, padding);
        expected.assertClose(byHand, TOLERANCE);
        byHand.assertEqual(step(model, Trainable.of(model), loss, padding));
        byHand.assertEqual(step(model, Trainable.of(model, RECOMPUTED), loss, padding));
      }
    }
  }

  private static void check(PeftModel model, String padding) {
    Loss loss = Losses.causalLanguageModel();
    Step expected = step(model, recorded(model), loss, padding);
    expected.assertClose(step(model, Trainable.of(model), loss, padding), TOLERANCE);
    expected.assertClose(step(model, Trainable.of(model, RECOMPUTED), loss, padding), TOLERANCE);
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama", "gemma2", "phi3"})
  void severalAdaptersWithStrengths(String name) {
    String query = name.equals("phi3") ? "qkv_proj" : "q_proj";
    LoraConfig ranked =
        all()
            .useRslora(true)
            .rankPattern(Map.of("o_proj", 2))
            .alphaPattern(Map.of("o_proj", 3))
            .build();
    LoraConfig some =
        LoraConfig.builder()
            .rank(3)
            .targetModules(query, "down_proj")
            .layersToTransform(1)
            .initialization(LoraInitialization.Kind.RANDOM)
            .build();
    try (PretrainedModel base = Golden.model(name);
        PeftModel model = Peft.wrap(base, ranked)) {
      model.addAdapter("some", some);
      model.trainAdapters(Peft.DEFAULT_ADAPTER, "some");
      model.setActiveAdapters(AdapterSet.none().and(Peft.DEFAULT_ADAPTER, 0.7).and("some", -1.5));
      check(model, "right");
      // One that acts and is not trained has no gradient and still its effect.
      model.trainAdapters("some");
      check(model, "left");
      // Layers below the lowest that is trained are not gone through.
      model.setActiveAdapters("some");
      check(model, "none");
    }
  }

  @Test
  void whatIsTrainedOutsideTheLayers() {
    LoraConfig embedding =
        LoraConfig.builder()
            .rank(4)
            .targetModules("embed_tokens", "v_proj")
            .initialization(LoraInitialization.Kind.RANDOM)
            .build();
    for (LoraConfig config :
        List.of(
            embedding,
            all().modulesToSave("lm_head").build(),
            all().modulesToSave("norm").build(),
            all().bias(LoraBias.ALL).build(),
            all().useDora(true).build(),
            LoraConfig.builder().rank(2).targetModules("lm_head", "q_proj").build())) {
      try (PretrainedModel base = Golden.model("qwen2");
          PeftModel model = Peft.wrap(base, config)) {
        check(model, "right");
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama", "bert-classifier", "gpt2", "roberta-tokens"})
  void recomputationChangesNoBitUnderDropout(String name) {
    LoraConfig config =
        LoraConfig.builder()
            .rank(4)
            .dropout(0.2)
            .targetModules(Targets.allLinear())
            .initialization(LoraInitialization.Kind.RANDOM)
            .build();
    Loss loss =
        name.startsWith("bert") || name.startsWith("rob")
            ? (outputs, labels) -> outputs.head().mul(outputs.head()).mean()
            : Losses.causalLanguageModel();
    try (PretrainedModel base = Golden.model(name);
        PeftModel model = Peft.wrap(base, config)) {
      Step plain = step(model, Trainable.of(model), loss, "right", ForwardMode.TRAINING);
      Step again =
          step(model, Trainable.of(model, RECOMPUTED), loss, "right", ForwardMode.TRAINING);
      plain.assertEqual(again);
      Step still = step(model, Trainable.of(model), loss, "right");
      assertTrue(still.loss != plain.loss, "no dropout");
    }
  }

  @Test
  void embeddingsAreMadeNoisy() {
    TrainingOptions noisy = new TrainingOptions(false, 5);
    TrainingOptions recomputed = new TrainingOptions(true, 5);
    Loss loss = Losses.causalLanguageModel();
    for (String name : List.of("llama", "gpt2")) {
      try (PretrainedModel base = Golden.model(name);
          PeftModel model = Peft.wrap(base, all().build())) {
        Step plain = step(model, Trainable.of(model), loss, "none");
        Step step = step(model, Trainable.of(model, noisy), loss, "none");
        assertTrue(step.loss != plain.loss, "no noise");
        step.assertEqual(step(model, Trainable.of(model, noisy), loss, "none"));
        step.assertEqual(step(model, Trainable.of(model, recomputed), loss, "none"));
      }
    }
  }

  @Test
  void adaptersInSeriesEachGetTheirGradient() {
    try (PretrainedModel base = Golden.model("llama");
        PeftModel model = Peft.wrap(base, all().build())) {
      model.addAdapter("second", all().rank(2).build());
      model.trainAdapters(Peft.DEFAULT_ADAPTER, "second");
      Trainable series =
          Trainable.series(
              model, List.of(AdapterSet.of(Peft.DEFAULT_ADAPTER), AdapterSet.of("second")));
      Trainable byHand =
          Trainable.of(
              (inputs, mode) ->
                  new NDList(
                      model
                          .with(Peft.DEFAULT_ADAPTER)
                          .forward(inputs, mode)
                          .head()
                          .add(model.with("second").forward(inputs, mode).head())),
              model.trainableParameters());
      Loss loss = Losses.causalLanguageModel();
      Step expected = step(model, byHand, loss, "right");
      Step actual = step(model, series, loss, "right");
      expected.assertClose(actual, TOLERANCE);
      actual.gradients.forEach((name, values) -> assertTrue(norm(values) > 0, name));
    }
  }

  @Test
  void bfloat16ComesCloseWithGradientsInFloat32() {
    LoadOptions half = LoadOptions.builder().precision(Precision.BFLOAT16).build();
    try (PretrainedModel base =
            PretrainedModel.load(Golden.ROOT.resolve("models").resolve("llama"), half);
        PeftModel model = Peft.wrap(base, all().build())) {
      Loss loss = Losses.causalLanguageModel();
      for (String padding : List.of("none", "left", "right", "packed")) {
        Step expected = step(model, recorded(model), loss, padding);
        Step actual = step(model, Trainable.of(model), loss, padding);
        // Each path may err by 0.08, as PEFT does (RoundedGradientTest); wrong masks show as 0.4.
        expected.assertClose(actual, 0.2);
        actual.assertEqual(step(model, Trainable.of(model, RECOMPUTED), loss, padding));
      }
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void stepsLeaveNoArraysAndTheBaseAsItIs(boolean recomputed) {
    Loss loss = Losses.causalLanguageModel();
    for (String name : List.of("llama-f16", "gemma2")) {
      try (PretrainedModel base = Golden.model(name);
          PeftModel model = Peft.wrap(base, all().build())) {
        Trainable trainable = Trainable.of(model, new TrainingOptions(recomputed, 0));
        List<float[]> before = weights(base);
        step(model, trainable, loss, "right");
        int live = live();
        for (int i = 0; i < 3; i++) {
          step(model, trainable, loss, "right");
          assertEquals(live, live(), "arrays after step " + i);
        }
        List<float[]> after = weights(base);
        for (int i = 0; i < before.size(); i++) {
          assertArrayEquals(before.get(i), after.get(i));
        }
      }
    }
  }

  /** Arrays that no other manager has. */
  private static int live() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      return manager.getParentManager().getManagedArrays().size();
    }
  }

  private static List<float[]> weights(PretrainedModel base) {
    List<float[]> values = new ArrayList<>();
    try (NDScope scope = new NDScope();
        GradMode off = GradMode.off();
        WeightSnapshot lease = base.weights().lease()) {
      scope.suppressNotUsedWarning();
      for (int i = 0; i < base.layout().parameters().size(); i++) {
        Weight weight = lease.weight(i);
        values.add(weight.dense().toFloatArray());
      }
    }
    return values;
  }
}
