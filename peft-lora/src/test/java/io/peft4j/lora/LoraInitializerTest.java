package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.InvalidConfigException;
import io.peft4j.lora.LoraInitialization.Kind;
import io.peft4j.nn.DenseWeight;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import org.apache.commons.math3.distribution.NormalDistribution;
import org.apache.commons.math3.distribution.RealDistribution;
import org.apache.commons.math3.distribution.UniformRealDistribution;
import org.apache.commons.math3.linear.Array2DRowRealMatrix;
import org.apache.commons.math3.linear.SingularValueDecomposition;
import org.apache.commons.math3.stat.inference.KolmogorovSmirnovTest;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class LoraInitializerTest {
  private static final LayerSpec LINEAR =
      new LayerSpec(0, "linear", LayerKind.LINEAR, new Shape(48, 64), true);
  private static final LayerSpec TRANSPOSED =
      new LayerSpec(0, "c_attn", LayerKind.LINEAR_TRANSPOSED, new Shape(64, 48), true);
  private static final LayerSpec EMBEDDING =
      new LayerSpec(0, "embed", LayerKind.EMBEDDING, new Shape(300, 64), false);
  private static final LayerSpec CONVOLUTION =
      new LayerSpec(0, "conv", LayerKind.CONV2D, new Shape(32, 16, 3, 3), true);

  private NDManager manager;

  @BeforeEach
  void open() {
    manager = NDManager.newBaseManager(null, "PyTorch");
    Engine.getEngine("PyTorch").setRandomSeed(7);
  }

  @AfterEach
  void close() {
    manager.close();
  }

  private Factors make(Kind kind, LayerSpec layer, NDArray weight, int rank, double scaling) {
    return make(LoraInitialization.of(kind), layer, weight, rank, scaling);
  }

  private Factors make(
      LoraInitialization init, LayerSpec layer, NDArray weight, int rank, double scaling) {
    return LoraInitializer.initialize(init, layer, DenseWeight.of(weight), rank, scaling, manager);
  }

  private NDArray weight(LayerSpec layer) {
    return manager.randomNormal(0, 1, layer.weight(), DataType.FLOAT32);
  }

  private static void follows(RealDistribution expected, NDArray sample) {
    float[] values = sample.toFloatArray();
    double[] wide = new double[values.length];
    for (int i = 0; i < wide.length; i++) {
      wide[i] = values[i];
    }
    double p = new KolmogorovSmirnovTest().kolmogorovSmirnovTest(expected, wide, false);
    assertTrue(p > 0.01, "not " + expected.getClass().getSimpleName() + ": p=" + p);
  }

  private static UniformRealDistribution uniform(double fanIn) {
    return new UniformRealDistribution(-1 / Math.sqrt(fanIn), 1 / Math.sqrt(fanIn));
  }

  private static void isZero(NDArray array) {
    assertEquals(0, GoldenLlama.maxMagnitude(array));
  }

  private static void hasShape(NDArray array, long... shape) {
    assertEquals(new Shape(shape), array.getShape());
    assertEquals(DataType.FLOAT32, array.getDataType());
  }

  @Test
  void defaultIsUniformInTheFanInAndDoesNothing() {
    Factors factors = make(Kind.DEFAULT, LINEAR, weight(LINEAR), 16, 2);
    hasShape(factors.a(), 16, 64);
    hasShape(factors.b(), 48, 16);
    follows(uniform(64), factors.a());
    isZero(factors.b());
  }

  @Test
  void defaultOfTransposedLayerHasTheSameShapes() {
    Factors factors = make(Kind.DEFAULT, TRANSPOSED, weight(TRANSPOSED), 4, 2);
    hasShape(factors.a(), 4, 64);
    hasShape(factors.b(), 48, 4);
  }

  @Test
  void gaussianHasDeviationOneOverRank() {
    Factors factors = make(Kind.GAUSSIAN, LINEAR, weight(LINEAR), 16, 2);
    follows(new NormalDistribution(0, 1.0 / 16), factors.a());
    isZero(factors.b());
  }

  @Test
  void randomIsThatOfTwoLinearLayers() {
    Factors factors = make(Kind.RANDOM, LINEAR, weight(LINEAR), 16, 2);
    follows(uniform(64), factors.a());
    follows(uniform(16), factors.b());
    LoraInitialization random = LoraInitialization.of(Kind.RANDOM);
    follows(uniform(16), LoraInitializer.bias(random, 400, 16, manager));
    isZero(LoraInitializer.bias(LoraInitialization.DEFAULT, 400, 16, manager));
  }

  @Test
  void embeddingHasZeroAAndNormalB() {
    for (Kind kind : new Kind[] {Kind.DEFAULT, Kind.GAUSSIAN, Kind.PISSA}) {
      Factors factors = make(kind, EMBEDDING, weight(EMBEDDING), 16, 2);
      hasShape(factors.a(), 16, 300);
      hasShape(factors.b(), 64, 16);
      isZero(factors.a());
      follows(new NormalDistribution(0, 1), factors.b());
    }
    Factors random = make(Kind.RANDOM, EMBEDDING, weight(EMBEDDING), 16, 2);
    follows(new NormalDistribution(0, 1), random.a());
    follows(new NormalDistribution(0, 1), random.b());
  }

  @Test
  void convolutionCountsItsKernelInTheFanIn() {
    Factors factors = make(Kind.RANDOM, CONVOLUTION, weight(CONVOLUTION), 8, 2);
    hasShape(factors.a(), 8, 16, 3, 3);
    hasShape(factors.b(), 32, 8, 1, 1);
    follows(uniform(16 * 9), factors.a());
    follows(uniform(8), factors.b());
    isZero(make(Kind.DEFAULT, CONVOLUTION, weight(CONVOLUTION), 8, 2).b());
  }

  @Test
  void decompositionsAreRefusedForConvolutions() {
    for (Kind kind : new Kind[] {Kind.PISSA, Kind.OLORA, Kind.ORTHOGONAL}) {
      InvalidConfigException e =
          assertThrows(
              InvalidConfigException.class,
              () -> make(kind, CONVOLUTION, weight(CONVOLUTION), 4, 2));
      assertTrue(e.getMessage().contains("conv"), e.getMessage());
    }
  }

  @Test
  void pissaTakesThePrincipalPart() {
    NDArray weight = weight(LINEAR);
    Factors factors = make(Kind.PISSA, LINEAR, weight, 5, 0.5);
    double[][] rows = new double[48][64];
    float[] values = weight.toFloatArray();
    for (int i = 0; i < values.length; i++) {
      rows[i / 64][i % 64] = values[i];
    }
    SingularValueDecomposition svd =
        new SingularValueDecomposition(new Array2DRowRealMatrix(rows, false));
    double[] s = svd.getSingularValues();
    double rest = 0;
    for (int i = 5; i < s.length; i++) {
      rest += s[i] * s[i];
    }
    NDArray residual = weight.sub(factors.b().matMul(factors.a()).mul(0.5));
    assertEquals(Math.sqrt(rest), residual.norm().getFloat(), 1e-4);
    // A and B share the singular values: AAᵀ and BᵀB are both diag(S/s).
    NDArray gramA = factors.a().matMul(factors.a().transpose());
    NDArray gramB = factors.b().transpose().matMul(factors.b());
    float[] diagonal = new float[5];
    for (int i = 0; i < 5; i++) {
      diagonal[i] = (float) (s[i] / 0.5);
    }
    NDArray wanted = manager.eye(5).mul(manager.create(diagonal));
    assertEquals(0, GoldenLlama.maxDifference(wanted, gramA), 1e-4);
    assertEquals(0, GoldenLlama.maxDifference(wanted, gramB), 1e-4);
  }

  @Test
  void pissaOfTransposedLayerIsThatOfItsTranspose() {
    NDArray weight = weight(LINEAR);
    Factors straight = make(Kind.PISSA, LINEAR, weight, 5, 2);
    Factors transposed = make(Kind.PISSA, TRANSPOSED, weight.transpose(), 5, 2);
    assertEquals(
        0,
        GoldenLlama.maxDifference(
            straight.b().matMul(straight.a()), transposed.b().matMul(transposed.a())),
        1e-5);
  }

  @Test
  void rankAboveTheMatrixIsRefused() {
    for (Kind kind : new Kind[] {Kind.PISSA, Kind.OLORA}) {
      InvalidConfigException e =
          assertThrows(
              InvalidConfigException.class, () -> make(kind, LINEAR, weight(LINEAR), 49, 2));
      assertTrue(e.getMessage().contains("48"), e.getMessage());
    }
  }

  @Test
  void randomizedPissaFindsAMatrixOfThatRank() {
    for (LayerSpec layer : new LayerSpec[] {LINEAR, TRANSPOSED}) {
      long rows = layer.weight().get(0);
      long columns = layer.weight().get(1);
      NDArray left = manager.randomNormal(new Shape(rows, 6));
      NDArray weight = left.matMul(manager.randomNormal(new Shape(6, columns)));
      Factors factors = make(LoraInitialization.pissa(1), layer, weight, 6, 0.25);
      NDArray product = factors.b().matMul(factors.a()).mul(0.25);
      NDArray wanted = layer == LINEAR ? weight : weight.transpose();
      assertEquals(0, GoldenLlama.maxDifference(wanted, product), 2e-5);
    }
  }

  @Test
  void randomizedPissaNearsTheExactOne() {
    NDArray weight = weight(LINEAR);
    double exact = residual(weight, make(Kind.PISSA, LINEAR, weight, 8, 1));
    double few = residual(weight, make(LoraInitialization.pissa(1), LINEAR, weight, 8, 1));
    double many = residual(weight, make(LoraInitialization.pissa(64), LINEAR, weight, 8, 1));
    assertTrue(few > exact * 1.0001, few + " should be above " + exact);
    assertTrue(few < exact * 1.1, few + " should be near " + exact);
    assertEquals(exact, many, exact * 1e-3);
  }

  @Test
  void randomizedPissaOfZeroIsZero() {
    Factors factors =
        make(LoraInitialization.pissa(2), LINEAR, manager.zeros(LINEAR.weight()), 4, 1);
    isZero(factors.b().matMul(factors.a()));
  }

  private static double residual(NDArray weight, Factors factors) {
    return weight.sub(factors.b().matMul(factors.a())).norm().getFloat();
  }

  @Test
  void oloraTakesTheFirstPartOfQr() {
    NDArray weight = weight(LINEAR);
    Factors all = make(Kind.OLORA, LINEAR, weight, 48, 3);
    assertEquals(0, GoldenLlama.maxDifference(weight, all.b().matMul(all.a())), 1e-5);
    Factors factors = make(Kind.OLORA, LINEAR, weight, 7, 3);
    hasShape(factors.a(), 7, 64);
    hasShape(factors.b(), 48, 7);
    NDArray gram = factors.b().transpose().matMul(factors.b());
    assertEquals(0, GoldenLlama.maxDifference(manager.eye(7), gram), 1e-5);
    NDArray lower = factors.a().get(":, :7").mul(manager.ones(new Shape(7, 7)).sub(upper(7)));
    isZero(lower);
    // The first columns of W lie in the span of as many columns of Q.
    NDArray head = weight.get(":, :7");
    NDArray product = factors.b().matMul(factors.a().get(":, :7"));
    assertEquals(0, GoldenLlama.maxDifference(head, product), 1e-5);
  }

  private NDArray upper(int size) {
    float[] values = new float[size * size];
    for (int i = 0; i < values.length; i++) {
      values[i] = i % size >= i / size ? 1 : 0;
    }
    return manager.create(values, new Shape(size, size));
  }

  @Test
  void orthogonalDoesNothingAtFirst() {
    Factors factors = make(Kind.ORTHOGONAL, LINEAR, weight(LINEAR), 6, 2);
    hasShape(factors.a(), 6, 64);
    hasShape(factors.b(), 48, 6);
    assertEquals(0, GoldenLlama.maxMagnitude(factors.b().matMul(factors.a())), 1e-7);
    // Three of six orthonormal directions, each with values of deviation 0.1.
    assertEquals(0.1 * Math.sqrt(0.5), deviation(factors.a()), 0.01);
    assertEquals(0.1 * Math.sqrt(0.5), deviation(factors.b()), 0.01);
    InvalidConfigException e =
        assertThrows(
            InvalidConfigException.class,
            () -> make(Kind.ORTHOGONAL, LINEAR, weight(LINEAR), 5, 2));
    assertTrue(e.getMessage().contains("even"), e.getMessage());
  }

  private static double deviation(NDArray array) {
    return Math.sqrt(array.pow(2).mean().getFloat());
  }

  @Test
  void pissaAndOloraAreThoseOfPeft() {
    Map<String, NDArray> base =
        GoldenLlama.tensors(manager, GoldenLlama.GOLDEN.resolve("models/llama/model.safetensors"));
    for (Kind kind : new Kind[] {Kind.PISSA, Kind.OLORA}) {
      Path directory =
          GoldenLlama.GOLDEN.resolve(
              "adapters/llama-" + kind.name().toLowerCase(Locale.ROOT) + "-init");
      LoraConfig config = GoldenLlama.config(directory);
      Map<String, NDArray> tensors =
          GoldenLlama.tensors(manager, directory.resolve("adapter_model.safetensors"));
      int layers = 0;
      for (LayerSpec layer : GoldenLlama.layout().layers()) {
        NDArray a = tensors.get(LoraAssembly.keyA(layer));
        if (a != null) {
          layers++;
          NDArray b = tensors.get(LoraAssembly.keyB(layer));
          Factors factors =
              make(
                  config.initialization(),
                  layer,
                  base.get(layer.weightName()),
                  config.rank(layer.path()),
                  config.scaling(layer.path()));
          assertEquals(
              0,
              GoldenLlama.maxDifference(b.matMul(a), factors.b().matMul(factors.a())),
              1e-5,
              layer.path());
        }
      }
      assertEquals(4, layers);
    }
  }
}
