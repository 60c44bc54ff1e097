package io.peft4j.qlora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.index.NDIndex;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.Peft;
import io.peft4j.PeftException;
import io.peft4j.PeftModel;
import io.peft4j.lora.LoraConfig;
import io.peft4j.lora.LoraConfigBuilder;
import io.peft4j.lora.LoraInitialization;
import io.peft4j.models.PretrainedModel;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.Targets;
import io.peft4j.testkit.LiveArrays;
import io.peft4j.testkit.TestNetwork;
import io.peft4j.torch.GradMode;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.commons.math3.linear.Array2DRowRealMatrix;
import org.apache.commons.math3.linear.SingularValueDecomposition;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Adapters that begin with what quantization has lost, and bases that cannot be quantized. */
final class InitializationTest {
  /** By how much PEFT's tests want the sum of the singular values of the error to fall. */
  private static final double NUCLEAR_FACTOR = 1.03;

  /** By how much PEFT's tests want LoftQ to bring the logits closer. */
  private static final double LOGIT_FACTOR = 1.005;

  private static LoraConfigBuilder lora() {
    return LoraConfig.builder().rank(8).alpha(24).targetModules(Targets.allLinear());
  }

  private static PeftModel wrapped(
      PretrainedModel base, LoraConfig lora, QloraInitialization rule) {
    Engine.getEngine("PyTorch").setRandomSeed(1);
    return Peft.wrap(base, QloraConfig.builder().lora(lora).initialization(rule).build());
  }

  private static QloraInitialization rule(String name) {
    return QloraInitialization.parse(name).orElseThrow();
  }

  /** ‖W − W'‖ for each linear layer: the sum of the singular values. */
  private static List<Double> errors(PretrainedModel exact, PretrainedModel other) {
    List<Double> sums = new ArrayList<>();
    try (WeightSnapshot first = exact.weights().lease();
        WeightSnapshot second = other.weights().lease();
        GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      for (LayerSpec layer : exact.layout().layers()) {
        if (layer.kind().isLinear() && !layer.path().equals("lm_head")) {
          int index = exact.layout().parameterIndex(layer.weightName());
          NDArray error = first.weight(index).dense().sub(second.weight(index).dense());
          int columns = (int) error.getShape().get(1);
          float[] values = error.toFloatArray();
          double[][] matrix = new double[values.length / columns][columns];
          for (int i = 0; i < values.length; i++) {
            matrix[i / columns][i % columns] = values[i];
          }
          double[] singular =
              new SingularValueDecomposition(new Array2DRowRealMatrix(matrix, false))
                  .getSingularValues();
          sums.add(Arrays.stream(singular).sum());
        }
      }
    }
    return sums;
  }

  private static float[] logits(PretrainedModel base) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      return base.forward(Bases.inputs(manager, 3, 11)).head().toFloatArray();
    }
  }

  private static double distance(float[] a, float[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += Math.abs(a[i] - b[i]);
    }
    return sum / a.length;
  }

  @ParameterizedTest
  @CsvSource({
    "llama, loftq",
    "llama, pissa_niter_4",
    "llama, pissa",
    "gpt2, loftq",
    "gpt2, pissa_niter_4",
    "llama-f16, loftq",
    "qwen2, pissa_niter_4"
  })
  void theErrorFallsByMoreThanPeftAsksFor(String name, String rule) {
    try (PretrainedModel exact = Bases.load(name);
        PretrainedModel plain = Bases.quantized(name, Bases.NF4);
        PretrainedModel base = Bases.load(name);
        PeftModel model = wrapped(base, lora().build(), rule(rule))) {
      assertEquals(Bases.bytes(plain), Bases.bytes(base), "the 4 bits stay as they are");
      List<Double> before = errors(exact, plain);
      float[] truth = logits(exact);
      double far = distance(truth, logits(plain));
      model.merge();
      List<Double> after = errors(exact, base);
      assertEquals(before.size(), after.size());
      for (int i = 0; i < before.size(); i++) {
        assertTrue(
            after.get(i) * NUCLEAR_FACTOR < before.get(i),
            "layer " + i + ": " + before.get(i) + " fell to " + after.get(i) + " only");
      }
      double near = distance(truth, logits(base));
      assertTrue(near * LOGIT_FACTOR < far, "logits were " + far + " off and are " + near);
    }
  }

  @Test
  void loftqTakesTheLargestSingularValues() {
    // With the whole rank nothing is lost.
    LoraConfig whole =
        LoraConfig.builder().rank(16).alpha(5).useRslora(true).targetModules("k_proj").build();
    try (PretrainedModel exact = Bases.load("llama");
        PretrainedModel base = Bases.load("llama");
        PeftModel model = wrapped(base, whole, QloraInitialization.LOFTQ)) {
      model.merge();
      // q, k, v, o, gate, up, down
      List<Double> errors = errors(exact, base);
      assertEquals(0, errors.get(1), 1e-5);
      assertTrue(errors.get(0) > 1e-3, "what is not targeted keeps its error");
    }
  }

  @Test
  void doraBeginsWithTheNormsOfTheSum() {
    LoraConfig dora = lora().useDora(true).targetModules("q_proj").build();
    LoraConfig plain = lora().targetModules("q_proj").build();
    try (PretrainedModel first = Bases.load("llama");
        PretrainedModel second = Bases.load("llama");
        PeftModel one = wrapped(first, dora, QloraInitialization.LOFTQ);
        PeftModel other = wrapped(second, plain, QloraInitialization.LOFTQ);
        NDManager manager = NDManager.newBaseManager("PyTorch")) {
      float[] expected = other.forward(Bases.inputs(manager, 3, 11)).head().toFloatArray();
      float[] actual = one.forward(Bases.inputs(manager, 3, 11)).head().toFloatArray();
      assertArrayEquals(expected, actual, 1e-5f);
    }
  }

  @Test
  void anAdapterThatIsSavedBeginsAgainAsItWas() {
    try (PretrainedModel base = Bases.load("llama");
        PeftModel model = wrapped(base, lora().build(), QloraInitialization.LOFTQ);
        NDManager manager = NDManager.newBaseManager("PyTorch")) {
      model.addAdapter(
          "again",
          LoraConfig.fromJson(model.adapter(Peft.DEFAULT_ADAPTER).state().config()),
          model.stateDict(Peft.DEFAULT_ADAPTER, manager));
      float[] expected = model.forward(Bases.inputs(manager, 3, 11)).head().toFloatArray();
      model.setActiveAdapters("again");
      assertArrayEquals(
          expected, model.forward(Bases.inputs(manager, 3, 11)).head().toFloatArray());
    }
  }

  private static <T extends PeftException> void assertRefused(
      Class<T> type, String word, PretrainedModel base, QloraConfig config) {
    int live = LiveArrays.count();
    Map<String, ByteBuffer> before = Bases.bytes(base);
    T refused = assertThrows(type, () -> Peft.wrap(base, config));
    assertTrue(refused.getMessage().contains(word), refused.getMessage());
    assertEquals(before, Bases.bytes(base), "the base was changed");
    LiveArrays.assertCount(live, "a refusal");
  }

  @Test
  void whatCannotBeIsRefusedAndTheBaseStaysAsItIs() {
    QloraConfig loftq =
        QloraConfig.builder()
            .lora(lora().build())
            .initialization(QloraInitialization.LOFTQ)
            .build();
    try (PretrainedModel packed = Bases.quantized("llama", Bases.NF4)) {
      assertRefused(InvalidConfigException.class, "4 bits already", packed, loftq);
    }
    try (PretrainedModel base = Bases.load("llama")) {
      QloraConfig wide =
          QloraConfig.builder()
              .lora(lora().rank(17).build())
              .initialization(QloraInitialization.pissa(2))
              .build();
      assertRefused(InvalidConfigException.class, "k_proj", base, wide);
      QloraConfig nowhere =
          QloraConfig.builder().lora(LoraConfig.builder().targetModules("q_prj").build()).build();
      assertRefused(InvalidConfigException.class, "q_prj", base, nowhere);
      QloraConfig nothing =
          QloraConfig.builder()
              .lora(lora().build())
              .quantization(
                  BitsAndBytesConfig.builder().skipModules(List.of("model", "lm_head")).build())
              .build();
      assertRefused(InvalidConfigException.class, "llm_int8_skip_modules", base, nothing);
      try (PeftModel other = Peft.open(base)) {
        QloraConfig config = QloraConfig.builder().lora(lora().build()).build();
        assertRefused(AdapterStateException.class, "another model", base, config);
        assertTrue(other.adapterNames().isEmpty());
      }
    }
    try (TestNetwork stock = TestNetwork.linears()) {
      QloraConfig config =
          QloraConfig.builder()
              .lora(LoraConfig.builder().targetModules("01Linear").build())
              .build();
      InvalidConfigException refused =
          assertThrows(InvalidConfigException.class, () -> Peft.wrap(stock.block(), config));
      assertTrue(refused.getMessage().contains("stock network"));
    }
  }

  @ParameterizedTest
  @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY})
  void weightsThatAreNotFiniteAreNamed(float bad) {
    try (PretrainedModel good = Bases.load("llama");
        PretrainedModel base = Bases.dense(good)) {
      String path = "model.layers.1.mlp.up_proj";
      try (WeightSnapshot lease = base.weights().lease();
          GradMode off = GradMode.off();
          NDScope scope = new NDScope()) {
        scope.suppressNotUsedWarning();
        NDArray values = Bases.weight(lease, base, path).dense();
        values.set(new NDIndex("3, 5"), bad);
      }
      assertRefused(
          MalformedFileException.class,
          path,
          base,
          QloraConfig.builder().lora(lora().build()).build());
    }
  }

  @Test
  void initializationsExcludeEachOther() {
    for (LoraInitialization.Kind kind :
        List.of(LoraInitialization.Kind.PISSA, LoraInitialization.Kind.GAUSSIAN)) {
      InvalidConfigException refused =
          assertThrows(
              InvalidConfigException.class,
              () ->
                  QloraConfig.builder()
                      .lora(lora().initialization(kind).build())
                      .initialization(QloraInitialization.LOFTQ)
                      .build());
      assertTrue(refused.getMessage().contains("not both"));
    }
    assertThrows(InvalidConfigException.class, () -> QloraInitialization.pissa(-1));
    assertFalse(QloraInitialization.parse("pissa_niter_x").isPresent());
  }
}
