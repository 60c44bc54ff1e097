package io.peft4j.models;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.nn.Acting;
import io.peft4j.nn.LayerAdapter;
import io.peft4j.nn.LayerCall;
import io.peft4j.nn.LowRankTerm;
import io.peft4j.nn.Pass;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.target.LayerSpec;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Precision;
import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Passes that go on from a cache, by layers in one kernel or not, are parts of one whole pass. */
class StepTest {
  private static final int BATCH = 4;
  private static final int LENGTH = 9;
  private static final int[] STEPS = {4, 2, 1, 1, 1};

  /** A low-rank product, which says so or not: if not, layers are computed one by one. */
  private record Product(LowRankTerm term, boolean says) implements LayerAdapter {
    @Override
    public NDArray apply(LayerCall call, NDArray output) {
      NDArray scaling = Ops.scale(term.scaling(), call.strength());
      return Ops.addLowRank(output, call.input(), term.a(), term.b(), scaling);
    }

    @Override
    public NDArray mergedWeight(NDArray weight, NDArray original, float strength) {
      throw new UnsupportedOperationException();
    }

    @Override
    public @Nullable LowRankTerm lowRank() {
      return says ? term : null;
    }

    @Override
    public String describe() {
      return "product";
    }
  }

  private record Adapter(Map<Integer, LayerAdapter> layers) implements Acting {
    @Override
    public @Nullable LayerAdapter layer(int slot) {
      return layers.get(slot);
    }

    @Override
    public @Nullable NDArray override(int index) {
      return null;
    }
  }

  /** Acts at every linear layer but each third, so that layers with one input differ. */
  private static Adapter adapter(
      PretrainedModel model, NDManager manager, int rank, int seed, boolean says) {
    Random random = new Random(seed);
    Map<Integer, LayerAdapter> layers = new HashMap<>();
    int count = seed;
    for (LayerSpec layer : model.layout().layers()) {
      if (layer.kind().isLinear() && count++ % 3 != 0) {
        NDArray a = random(manager, random, rank, layer.inFeatures());
        NDArray b = random(manager, random, layer.outFeatures(), rank);
        layers.put(layer.slot(), new Product(new LowRankTerm(a, b, manager.create(0.7f)), says));
      }
    }
    assertTrue(layers.size() > 1, "hardly any layer is adapted");
    return new Adapter(layers);
  }

  private static NDArray random(NDManager manager, Random random, long rows, long columns) {
    float[] values = new float[(int) (rows * columns)];
    for (int i = 0; i < values.length; i++) {
      values[i] = 0.3f * (float) random.nextGaussian();
    }
    return manager.create(values, new Shape(rows, columns));
  }

  private static List<Segment> segments(
      String who, PretrainedModel model, NDManager manager, boolean says) {
    Adapter a = adapter(model, manager, 2, 1, says);
    Adapter b = adapter(model, manager, 3, 2, says);
    return switch (who) {
      case "base" -> List.of(Segment.ALL_BASE);
      case "one" -> List.of(new Segment(0, BATCH, List.of(a), new float[] {1}));
      case "two" -> List.of(new Segment(0, BATCH, List.of(a, b), new float[] {0.5f, 2}));
      case "rows" ->
          List.of(
              new Segment(0, 1, List.of(b), new float[] {1}),
              new Segment(1, 2, List.of(), new float[0]),
              new Segment(2, BATCH, List.of(a, b), new float[] {1, 0.5f}));
      default -> throw new IllegalArgumentException(who);
    };
  }

  @ParameterizedTest
  @CsvSource({
    "llama, base, true, false, FLOAT32, 1e-5",
    "llama, base, true, true, FLOAT32, 1e-5",
    "llama, one, true, true, FLOAT32, 1e-5",
    "llama, one, false, true, FLOAT32, 1e-5",
    "llama, two, true, false, FLOAT32, 1e-5",
    "llama, rows, true, true, FLOAT32, 1e-5",
    "llama, rows, false, false, FLOAT32, 1e-5",
    "llama-tied, two, true, true, FLOAT32, 1e-5",
    "llama-tied, rows, true, false, FLOAT32, 1e-5",
    "llama-f16, two, true, true, FLOAT32, 1e-5",
    // Few rows are not rounded as many are.
    "llama-f16, rows, true, true, BFLOAT16, 3e-2",
    "llama, two, true, true, BFLOAT16, 1e-1"
  })
  void stepsAreTheWholePass(
      String name,
      String who,
      boolean fused,
      boolean padded,
      Precision precision,
      double tolerance) {
    check(name, who, fused, padded, precision, tolerance);
  }

  /** Whether a pass over a cache can be part of one without: there angles depend on the length. */
  private static boolean steady(String name) {
    return !name.equals("llama-dynamic") && !name.equals("phi3-longrope");
  }

  static List<String> decoders() throws IOException {
    return DecoderGoldenTest.decoders().stream()
        .filter(name -> !name.endsWith("-classifier") && !name.endsWith("-tokens") && steady(name))
        .toList();
  }

  @ParameterizedTest
  @MethodSource("decoders")
  void stepsOfEveryDecoderAreTheWholePass(String name) {
    for (String who : List.of("base", "one", "rows")) {
      for (boolean fused : new boolean[] {true, false}) {
        for (boolean padded : new boolean[] {true, false}) {
          check(name, who, fused, padded, Precision.FLOAT32, 1e-5);
        }
      }
    }
  }

  private static void check(
      String name,
      String who,
      boolean fused,
      boolean padded,
      Precision precision,
      double tolerance) {
    LoadOptions options = LoadOptions.builder().precision(precision).build();
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode off = GradMode.off();
        NDScope scope = new NDScope();
        PretrainedModel model = PretrainedModel.load(Goldens.directory(name), options);
        WeightSnapshot weights = model.weights().lease();
        Pass pass = new Pass(weights, segments(who, model, manager, fused), false)) {
      scope.suppressNotUsedWarning();
      Network network = model.network();
      long[] ids = new Random(5).longs((long) BATCH * LENGTH, 3, 48).toArray();
      NDArray idArray = manager.create(ids, new Shape(BATCH, LENGTH));
      long[] mask = new long[ids.length];
      java.util.Arrays.fill(mask, 1);
      float[] padding = new float[ids.length];
      if (padded) {
        // The second row begins with two tokens of padding.
        for (int i = LENGTH; i < LENGTH + 2; i++) {
          mask[i] = 0;
          padding[i] = Float.NEGATIVE_INFINITY;
        }
      }
      NDArray paddingArray = manager.create(padding, new Shape(BATCH, 1, 1, LENGTH));
      NDArray maskArray = manager.create(mask, idArray.getShape());
      float[] whole =
          network
              .forward(pass, ModelInputs.of(new NDList(idArray, maskArray), network.limits()))
              .head()
              .toFloatArray();
      int width = whole.length / BATCH / LENGTH;

      try (KeyValueCache cache =
          new KeyValueCache(network.cacheShape().orElseThrow(), Device.cpu(), BATCH, 3)) {
        int done = 0;
        for (int step : STEPS) {
          int end = done + step;
          NDArray part = idArray.get(":, {}:{}", done, end);
          NDArray seen = padded ? paddingArray.get(":, :, :, :{}", end) : null;
          NDArray positions =
              manager
                  .arange(done, end, 1, DataType.INT64)
                  .expandDims(0)
                  .broadcast(new Shape(BATCH, step));
          float[] last =
              network
                  .forward(pass, ModelInputs.step(part, seen, positions, cache))
                  .head()
                  .toFloatArray();
          done = end;
          assertEquals(done, cache.length());
          for (int row = 0; row < BATCH; row++) {
            float[] expected = new float[width];
            float[] actual = new float[width];
            System.arraycopy(whole, (row * LENGTH + done - 1) * width, expected, 0, width);
            System.arraycopy(last, row * width, actual, 0, width);
            Goldens.assertClose(expected, actual, tolerance, "row " + row + " after " + done);
          }
        }
      }
    }
  }
}
