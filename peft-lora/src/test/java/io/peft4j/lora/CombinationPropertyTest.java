package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.lora.LoraCombination.MajoritySign;
import io.peft4j.lora.LoraCombination.Type;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.DoubleRange;
import net.jqwik.api.constraints.IntRange;

/** The algebra of the changes ΔW for random adapters: ranks, scalings, weights, layers. */
class CombinationPropertyTest {
  private static final ModelLayout LAYOUT = layout();

  /** A random adapter. */
  record Sample(int rank, double alpha, boolean rslora, boolean patterns, int targets, long seed) {}

  private static ModelLayout layout() {
    ModelLayout.Builder layout = ModelLayout.builder("test");
    layout.embedding("embed", 11, 6);
    layout.linear("block.linear", 7, 9, true);
    layout.layer("block.transposed", LayerKind.LINEAR_TRANSPOSED, new Shape(5, 8), false);
    layout.layer("block.conv", LayerKind.CONV2D, new Shape(4, 3, 3, 2), false);
    return layout.build();
  }

  @Provide
  Arbitrary<Sample> samples() {
    return Combinators.combine(
            Arbitraries.integers().between(1, 5),
            Arbitraries.of(0.5, 1.0, 4.0, 7.0),
            Arbitraries.of(true, false),
            Arbitraries.of(true, false),
            Arbitraries.integers().between(1, 15),
            Arbitraries.longs())
        .as(Sample::new);
  }

  @Property(tries = 60)
  void catIsTheWeightedSum(
      @ForAll("samples") Sample a,
      @ForAll("samples") Sample b,
      @ForAll("samples") Sample c,
      @ForAll @DoubleRange(min = -3, max = 3) double w,
      @ForAll @DoubleRange(min = -3, max = 3) double v) {
    isTheWeightedSum(Type.CAT, null, List.of(a, b, c), w, v, -0.5);
  }

  @Property(tries = 60)
  void svdOfFullRankIsTheWeightedSum(
      @ForAll("samples") Sample a,
      @ForAll("samples") Sample b,
      @ForAll @DoubleRange(min = -3, max = 3) double w,
      @ForAll @DoubleRange(min = -3, max = 3) double v,
      @ForAll @IntRange(min = 0, max = 9) int more) {
    isTheWeightedSum(Type.SVD, sumOfRanks(a, b) + more, List.of(a, b), w, v);
  }

  @Property(tries = 30)
  void prunedSvdThatPrunesNothingIsTheWeightedSum(
      @ForAll("samples") Sample a,
      @ForAll("samples") Sample b,
      @ForAll @DoubleRange(min = -3, max = 3) double w) {
    Sample plain = new Sample(a.rank(), a.alpha(), false, a.patterns(), a.targets(), a.seed());
    for (Type type : List.of(Type.DARE_LINEAR_SVD, Type.MAGNITUDE_PRUNE_SVD)) {
      isTheWeightedSum(type, sumOfRanks(a, b), List.of(plain, b), w, 0.7);
    }
  }

  @Property(tries = 30)
  void svdLosesExactlyTheSmallerSingularValues(
      @ForAll("samples") Sample a,
      @ForAll("samples") Sample b,
      @ForAll @IntRange(min = 1, max = 4) int rank) {
    try (NDManager manager = NDManager.newBaseManager(null, "PyTorch")) {
      List<CombinationSource> sources = sources(manager, List.of(a, b), 0.8, -1.5);
      AdapterCombiner.Combined combined = combine(Type.SVD, rank, sources);
      wanted(sources)
          .forEach(
              (layer, sum) -> {
                double[] all = LinearAlgebra.svd(sum).s().toDoubleArray();
                double lost = 0;
                for (int i = rank; i < all.length; i++) {
                  lost += all[i] * all[i];
                }
                NDArray error = sum.sub(delta(combined, layer));
                double norm = Math.sqrt(error.pow(2).sum().getDouble());
                assertEquals(Math.sqrt(lost), norm, 1e-5 * Math.max(1, all[0]), layer.path());
              });
    }
  }

  @Property(tries = 40)
  void oneAdapterIsReweighted(
      @ForAll("samples") Sample a,
      @ForAll Type type,
      @ForAll @DoubleRange(min = -3, max = 3) double w) {
    Sample plain = new Sample(a.rank(), a.alpha(), false, a.patterns(), a.targets(), a.seed());
    isTheWeightedSum(type, null, List.of(type.isExact() ? a : plain), w);
  }

  @Property(tries = 40)
  void rulesThatPruneNothingAreLinear(
      @ForAll("samples") Sample a, @ForAll("samples") Sample b, @ForAll boolean negative) {
    Sample one = new Sample(3, a.alpha(), a.rslora(), false, a.targets(), a.seed());
    Sample two = new Sample(3, b.alpha(), b.rslora(), false, b.targets(), b.seed());
    try (NDManager manager = NDManager.newBaseManager(null, "PyTorch")) {
      List<CombinationSource> sources =
          sources(manager, List.of(one, two), 0.6, negative ? -0.4 : 0.4);
      AdapterCombiner.Combined linear = combine(Type.LINEAR, null, sources);
      for (Type type : List.of(Type.DARE_LINEAR, Type.MAGNITUDE_PRUNE)) {
        assertEquals(linear.config(), combine(type, null, sources).config());
        combine(type, null, sources)
            .tensors()
            .forEach((key, array) -> assertTrue(array.contentEquals(linear.tensors().get(key))));
      }
    }
  }

  @Property(tries = 40)
  void tiesThatPrunesNothingAgreesWhereSignsDo(
      @ForAll("samples") Sample a, @ForAll MajoritySign sign) {
    Sample one = new Sample(3, 3, false, false, a.targets(), a.seed());
    try (NDManager manager = NDManager.newBaseManager(null, "PyTorch")) {
      // Twice the same adapter: all signs agree, so that the mean of the two is taken.
      List<CombinationSource> sources = sources(manager, List.of(one, one), 1, 1);
      LoraCombination how = recipe(Type.TIES_SVD, 3, sources).majoritySign(sign).density(1).build();
      AdapterCombiner.Combined combined = new AdapterCombiner(how, LAYOUT, sources).combine();
      wanted(sources)
          .forEach((layer, sum) -> near(sum.div(2), delta(combined, layer), layer.path()));
    }
  }

  @Property(tries = 40)
  void linearHasItsTermsAndCrossTerms(
      @ForAll("samples") Sample a,
      @ForAll("samples") Sample b,
      @ForAll @DoubleRange(min = -2, max = 2) double w,
      @ForAll @DoubleRange(min = -2, max = 2) double v) {
    Sample one = new Sample(3, a.alpha(), false, false, 15, a.seed());
    Sample two = new Sample(3, b.alpha(), b.rslora(), false, 15, b.seed());
    try (NDManager manager = NDManager.newBaseManager(null, "PyTorch")) {
      List<CombinationSource> sources = sources(manager, List.of(one, two), w, v);
      AdapterCombiner.Combined linear = combine(Type.LINEAR, null, sources);
      wanted(sources)
          .forEach(
              (layer, sum) -> {
                WeightedFactors p = sources.get(0).layers().get(layer);
                WeightedFactors q = sources.get(1).layers().get(layer);
                double root = Math.sqrt(Math.abs(p.strength() * q.strength()));
                NDArray cross =
                    product(p.b(), q.a())
                        .mul(root * Math.signum(q.strength()))
                        .add(product(q.b(), p.a()).mul(root * Math.signum(p.strength())));
                near(sum.add(cross), delta(linear, layer), layer.path());
              });
    }
  }

  @Property(tries = 10)
  void dareIsRightOnAverage(@ForAll("samples") Sample a) {
    Sample one = new Sample(3, 3, false, false, a.targets(), a.seed());
    try (NDManager manager = NDManager.newBaseManager(null, "PyTorch")) {
      List<CombinationSource> sources = sources(manager, List.of(one, one), 0.5, 0.5);
      LoraCombination how = recipe(Type.DARE_LINEAR, null, sources).density(0.25).build();
      String key = LoraAssembly.keyA(sources.get(0).layers().keySet().iterator().next());
      NDArray linear = combine(Type.LINEAR, null, sources).tensors().get(key);
      NDArray sum = linear.zerosLike();
      int draws = 100;
      for (int i = 0; i < draws; i++) {
        sum = sum.add(new AdapterCombiner(how, LAYOUT, sources).combine().tensors().get(key));
      }
      // One draw has variance 3·x² for each of two equal terms x, half of the value each.
      double error = size(sum.div(draws).sub(linear)) / size(linear);
      double expected = Math.sqrt(3.0 / draws / 2);
      // A size made of few values, or of many of which few are large, is itself a matter of chance.
      double squares = linear.pow(2).sum().getFloat();
      double values = squares * squares / linear.pow(4).sum().getFloat();
      double least = values < 8 ? 0 : expected / 3;
      double most = expected * (values < 8 ? 5 : 3);
      assertTrue(error > least && error < most, error + " is not " + expected + ": " + values);
    }
  }

  private static double size(NDArray array) {
    return array.toType(DataType.FLOAT64, false).pow(2).sum().sqrt().getDouble();
  }

  // --- what the properties share ----------------------------------------------------------------

  private static void isTheWeightedSum(
      Type type, Integer svdRank, List<Sample> samples, double... weights) {
    try (NDManager manager = NDManager.newBaseManager(null, "PyTorch")) {
      List<CombinationSource> sources = sources(manager, samples, weights);
      AdapterCombiner.Combined combined = combine(type, svdRank, sources);
      Map<LayerSpec, NDArray> wanted = wanted(sources);
      assertEquals(2 * wanted.size(), combined.tensors().size());
      wanted.forEach((layer, sum) -> near(sum, delta(combined, layer), layer.path()));
    }
  }

  private static AdapterCombiner.Combined combine(
      Type type, Integer svdRank, List<CombinationSource> sources) {
    return new AdapterCombiner(recipe(type, svdRank, sources).density(1).build(), LAYOUT, sources)
        .combine();
  }

  private static LoraCombination.Builder recipe(
      Type type, Integer svdRank, List<CombinationSource> sources) {
    LoraCombination.Builder recipe = LoraCombination.builder().type(type);
    for (CombinationSource source : sources) {
      recipe.adapter(source.name(), source.layers().values().iterator().next().weight());
    }
    return svdRank == null ? recipe : recipe.svdRank(svdRank);
  }

  /** Σ w·s·B·A in float64 by plain loops' worth of engine calls, from the samples themselves. */
  private static Map<LayerSpec, NDArray> wanted(List<CombinationSource> sources) {
    Map<LayerSpec, NDArray> sums = new LinkedHashMap<>();
    for (CombinationSource source : sources) {
      source
          .layers()
          .forEach(
              (layer, factors) -> {
                NDArray term =
                    product(factors.b(), factors.a()).mul(factors.weight() * factors.scaling());
                sums.merge(layer, term, NDArray::add);
              });
    }
    return sums;
  }

  private static NDArray product(NDArray b, NDArray a) {
    return b.toType(DataType.FLOAT64, false).matMul(a.toType(DataType.FLOAT64, false));
  }

  private static NDArray delta(AdapterCombiner.Combined combined, LayerSpec layer) {
    NDArray a = combined.tensors().get(LoraAssembly.keyA(layer));
    NDArray b = combined.tensors().get(LoraAssembly.keyB(layer));
    assertEquals(layer.weight().dimension() > 2 ? 4 : 2, a.getShape().dimension());
    assertEquals(a.getShape().dimension(), b.getShape().dimension());
    long rank = a.getShape().get(0);
    assertEquals(combined.config().rank(layer.path()), rank);
    return product(b.reshape(b.getShape().get(0), -1), a.reshape(rank, -1))
        .mul(combined.config().scaling(layer.path()));
  }

  private static void near(NDArray wanted, NDArray actual, String what) {
    double tolerance = 4e-6 * Math.max(1, GoldenLlama.maxMagnitude(wanted));
    assertEquals(0, GoldenLlama.maxDifference(wanted, actual), tolerance, what);
  }

  private static int sumOfRanks(Sample a, Sample b) {
    return a.rank() + b.rank() + 4;
  }

  private static List<CombinationSource> sources(
      NDManager manager, List<Sample> samples, double... weights) {
    List<CombinationSource> sources = new ArrayList<>();
    for (int i = 0; i < samples.size(); i++) {
      sources.add(source(manager, "s" + i, samples.get(i), weights[i]));
    }
    return sources;
  }

  private static CombinationSource source(
      NDManager manager, String name, Sample sample, double weight) {
    List<String> names = new ArrayList<>();
    LoraConfigBuilder config =
        LoraConfig.builder().rank(sample.rank()).alpha(sample.alpha()).useRslora(sample.rslora());
    Map<String, NDArray> tensors = new HashMap<>();
    Random random = new Random(sample.seed());
    Map<String, Integer> ranks = new HashMap<>();
    Map<String, Double> alphas = new HashMap<>();
    for (LayerSpec layer : LAYOUT.layers()) {
      if ((sample.targets() >> layer.slot() & 1) == 1) {
        names.add(layer.path());
        int rank = sample.rank();
        if (sample.patterns()) {
          rank = 1 + random.nextInt(rank + 2);
          ranks.put(layer.path(), rank);
          alphas.put(layer.path(), 1.0 + random.nextInt(9));
        }
        long in = layer.inFeatures() * (layer.weight().dimension() > 2 ? 6 : 1);
        NDArray a = random(manager, random, rank, in);
        NDArray b = random(manager, random, layer.outFeatures(), rank);
        tensors.put(
            LoraAssembly.keyA(layer), a.reshape(FactorShapes.a(layer, a.getShape().get(0))));
        tensors.put(
            LoraAssembly.keyB(layer), b.reshape(FactorShapes.b(layer, b.getShape().get(1))));
      }
    }
    config.targetModules(names.toArray(String[]::new)).rankPattern(ranks).alphaPattern(alphas);
    return new CombinationSource(name, weight, config.build(), tensors, LAYOUT);
  }

  private static NDArray random(NDManager manager, Random random, long rows, long columns) {
    float[] values = new float[(int) (rows * columns)];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return manager.create(values, new Shape(rows, columns));
  }
}
