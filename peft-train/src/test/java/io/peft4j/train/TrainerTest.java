package io.peft4j.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.TrainableParameter;
import io.peft4j.torch.Ops;
import java.nio.LongBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

final class TrainerTest {
  private static final int FEATURES = Network.FEATURES;

  private NDManager manager;
  private NDManager last;

  @BeforeEach
  void open() {
    manager = NDManager.newBaseManager("PyTorch");
  }

  @AfterEach
  void close() {
    manager.close();
  }

  /** Adam, clipping, schedule, weighting of accumulated batches: all of it at once. */
  @Test
  void makesTheRunThatTorchMakes() {
    JsonNode golden = Golden.read("run");
    Map<String, TrainableParameter> parameters =
        Golden.parameters(manager, golden.get("shapes"), golden.get("start"));
    List<Supplier<Batch>> batches = new ArrayList<>();
    golden
        .get("batches")
        .forEach(step -> step.forEach(batch -> batches.add(() -> goldenBatch(batch))));
    Trainable model =
        Trainable.of(
            (inputs, mode) ->
                new NDList(
                    linear(
                        linear(inputs.head(), parameters, "w1", "b1").tanh(),
                        parameters,
                        "w2",
                        "b2")),
            List.copyOf(parameters.values()));
    List<TrainingStep> told = new ArrayList<>();

    TrainingResult result =
        Trainer.builder()
            .model(model)
            .loss(Losses.crossEntropy())
            .batches(BatchSource.of(batches))
            .learningRate(golden.get("lr").asDouble())
            .weightDecay(golden.get("weight_decay").asDouble())
            .maxGradientNorm(golden.get("max_norm").asDouble())
            .schedule(LearningRateSchedule.cosine(golden.get("warmup").asLong()))
            .gradientAccumulation(2)
            .listener(told::add)
            .build()
            .run();

    assertClose(Golden.doubles(golden.get("losses")), result.losses(), 1e-6);
    assertClose(Golden.doubles(golden.get("norms")), result.gradientNorms(), 1e-6);
    parameters.forEach(
        (name, parameter) ->
            assertArrayEquals(
                Golden.floats(golden.get("final").get(name)),
                parameter.array().toFloatArray(),
                1e-6f));
    assertEquals(9 * 12, result.samples());
    assertEquals(
        IntStream.rangeClosed(1, 12).mapToObj(i -> (long) i).toList(),
        told.stream().map(TrainingStep::step).toList());
    assertEquals(result.losses(), told.stream().map(TrainingStep::loss).toList());
    assertEquals(12, told.get(0).totalSteps());
    assertEquals(0, told.get(0).learningRate());
    assertEquals(0.05, told.get(3).learningRate(), 1e-12);
  }

  private static NDArray linear(
      NDArray x, Map<String, TrainableParameter> parameters, String weight, String bias) {
    return Ops.linear(x, parameters.get(weight).array(), parameters.get(bias).array());
  }

  private static Batch goldenBatch(JsonNode batch) {
    NDManager own = NDManager.newBaseManager("PyTorch");
    long[] labels = Golden.longs(batch.get("labels"));
    NDArray features =
        own.create(Golden.floats(batch.get("features")), new Shape(labels.length, 4));
    return new Batch(own, new NDList(features), new NDList(own.create(labels)));
  }

  @Test
  void teachesAStockNetwork() {
    Network network = new Network(manager, 1);
    BatchSource batches = source(40, 5);
    TrainingResult result = trainer(network, batches).learningRate(0.02).epochs(20).build().run();
    assertEquals(160, result.steps());
    assertTrue(result.losses().get(159) < 0.25 * result.losses().get(0), result::toString);
    assertTrue(result.samplesPerSecond() > 0);
    assertEquals(0, result.tokensPerSecond());
  }

  @Test
  void repeatsBitForBit() {
    List<float[]> first = null;
    for (long seed : new long[] {7, 7, 8}) {
      Network network = new Network(manager, 1);
      network.dropout = 0.3;
      TrainingResult result = trainer(network, source(40, 5)).seed(seed).epochs(3).build().run();
      assertEquals(24, result.steps());
      List<float[]> end = network.values();
      if (first == null) {
        first = end;
      } else if (seed == 7) {
        for (int i = 0; i < end.size(); i++) {
          assertArrayEquals(first.get(i), end.get(i));
        }
      } else {
        assertFalse(Arrays.equals(first.get(0), end.get(0)));
      }
    }
  }

  /** A bigger problem, so that the engine spreads it over its threads. */
  @Test
  void repeatsBitForBitOnSeveralThreads() {
    List<Double> first = null;
    for (int run = 0; run < 3; run++) {
      try (NDManager own = NDManager.newBaseManager("PyTorch")) {
        Network network = new Network(own, 1, 512);
        List<Double> losses = trainer(network, source(2000, 500)).epochs(3).build().run().losses();
        first = first == null ? losses : first;
        assertEquals(first, losses);
      }
    }
  }

  @Test
  void keepsMemoryFlatOver1000Steps() {
    Network network = new Network(manager, 1);
    int[] arrays = new int[2];
    TrainingListener counts =
        step -> {
          arrays[step.step() <= 10 ? 0 : 1] =
              manager.getManagedArrays().size()
                  + manager.getParentManager().getManagedArrays().size();
        };
    int[] made = new int[1];
    List<Supplier<Batch>> batches =
        IntStream.range(0, 8)
            .<Supplier<Batch>>mapToObj(i -> () -> counted(batch(5, i), made))
            .toList();
    TrainingResult result =
        trainer(network, BatchSource.of(batches)).steps(1000).listener(counts).build().run();
    assertEquals(1000, result.steps());
    assertTrue(arrays[0] > 0);
    assertEquals(arrays[0], arrays[1]);
    assertEquals(1000, made[0]);
  }

  /** Counts a batch that was made, and sees to it that the one before was closed. */
  private Batch counted(Batch batch, int[] made) {
    if (last != null) {
      assertFalse(last.isOpen());
    }
    last = batch.inputs().head().getManager();
    made[0]++;
    return batch;
  }

  @Test
  void stopsBeforeALossThatIsNotANumberDoesHarm() {
    Network network = new Network(manager, 1);
    List<Supplier<Batch>> batches = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      int number = i;
      batches.add(() -> number == 3 ? poisoned() : batch(5, number));
    }
    List<float[]> before = new ArrayList<>();
    Trainer trainer =
        trainer(network, BatchSource.of(batches))
            .listener(
                step -> {
                  before.clear();
                  before.addAll(network.values());
                })
            .build();
    DivergenceException stopped = assertThrows(DivergenceException.class, trainer::run);
    assertEquals(4, stopped.step());
    assertTrue(stopped.getMessage().contains("step 4"), stopped.getMessage());
    assertTrue(stopped.getMessage().contains("NaN"), stopped.getMessage());
    for (int i = 0; i < before.size(); i++) {
      assertArrayEquals(before.get(i), network.values().get(i));
    }
    // And it can be gone on with.
    assertEquals(8, trainer(network, source(40, 5)).build().run().steps());
  }

  private static Batch poisoned() {
    Batch batch = batch(5, 0);
    batch.inputs().head().set(new float[5 * FEATURES]);
    batch.inputs().head().subi(Float.NaN);
    return batch;
  }

  @Test
  void weighsBatchesByWhatCounts() {
    double[] norms = new double[2];
    for (int accumulated = 0; accumulated < 2; accumulated++) {
      Network network = new Network(manager, 1);
      List<Supplier<Batch>> batches =
          accumulated == 0
              ? List.of(() -> masked(6, 0, 6))
              : List.of(() -> masked(6, 0, 1), () -> masked(6, 0, 0), () -> masked(6, 1, 6));
      TrainingResult result =
          trainer(network, BatchSource.of(batches))
              .gradientAccumulation(batches.size())
              .build()
              .run();
      assertEquals(1, result.steps());
      norms[accumulated] = result.gradientNorms().get(0);
    }
    assertEquals(norms[0], norms[1], 1e-6 * norms[0]);
  }

  @Test
  void namesTheStepWithoutLabels() {
    Network network = new Network(manager, 1);
    BatchSource batches = BatchSource.of(List.of(() -> masked(6, 0, 6), () -> masked(6, 0, 0)));
    InvalidConfigException stopped =
        assertThrows(InvalidConfigException.class, () -> trainer(network, batches).build().run());
    assertTrue(stopped.getMessage().contains("step 2"), stopped.getMessage());
  }

  /** A batch of which only some labels count. */
  private static Batch masked(int rows, int from, int to) {
    Batch batch = batch(rows, 0);
    long[] labels = batch.labels().head().toLongArray();
    for (int row = 0; row < rows; row++) {
      if (row < from || row >= to) {
        labels[row] = Losses.IGNORED;
      }
    }
    batch.labels().head().set(LongBuffer.wrap(labels));
    return batch;
  }

  @Test
  void trainsGroupsAtTheirOwnRates() {
    Network network = new Network(manager, 1);
    List<float[]> before = network.values();
    trainer(network, source(10, 5))
        .learningRate(1e-3)
        .parameterGroups(
            all ->
                List.of(
                    new ParameterGroup(all.subList(0, 1), 1, 0),
                    new ParameterGroup(all.subList(1, 2), 10, 0)))
        .steps(1)
        .build()
        .run();
    List<float[]> after = network.values();
    assertEquals(1e-3, largestChange(before, after, 0), 1e-5);
    assertEquals(1e-2, largestChange(before, after, 1), 1e-4);
    // What is in no group stays as it is.
    assertEquals(0, largestChange(before, after, 2));
  }

  private static double largestChange(List<float[]> before, List<float[]> after, int index) {
    double largest = 0;
    for (int i = 0; i < before.get(index).length; i++) {
      largest = Math.max(largest, Math.abs(before.get(index)[i] - after.get(index)[i]));
    }
    return largest;
  }

  @Test
  void goesByStepsWhereBatchesAreNotCounted() {
    Iterable<Batch> endless =
        () ->
            new Iterator<>() {
              private int next;

              @Override
              public boolean hasNext() {
                return true;
              }

              @Override
              public Batch next() {
                return batch(4, next++);
              }
            };
    TrainerBuilder builder = trainer(new Network(manager, 1), BatchSource.streamed(endless));
    assertThrows(InvalidConfigException.class, builder::build);
    assertEquals(7, builder.steps(7).build().run().steps());
  }

  @Test
  void comparesWithAnotherRun() {
    List<Supplier<Batch>> batches = List.of(() -> batch(4, 0), () -> batch(4, 1));
    OptimizerSettings settings = OptimizerSettings.builder().learningRate(0.01).build();
    Network network = new Network(manager, 1);
    network.dropout = 0.5;
    LossRun one = LossRun.of(network, batches, Losses.crossEntropy(), settings);
    LossRun same = LossRun.of(new Network(manager, 1), batches, Losses.crossEntropy(), settings);
    LossRun other = LossRun.of(new Network(manager, 2), batches, Losses.crossEntropy(), settings);
    // Dropout plays no part.
    assertEquals(0, one.maxDifference(same.losses()));
    assertNotEquals(0, one.maxDifference(other.losses()));
    assertEquals(2, one.gradientNorms().size());
    assertTrue(Double.isNaN(one.maxDifference(List.of(Double.NaN, 1.0))));
    assertThrows(InvalidConfigException.class, () -> one.maxDifference(List.of(1.0)));
  }

  @Test
  void refusesIncompleteOrImpossibleSettings() {
    Network network = new Network(manager, 1);
    BatchSource batches = source(10, 5);
    List<Runnable> wrong =
        List.of(
            () -> Trainer.builder().build(),
            () -> Trainer.builder().model(network).batches(batches).build(),
            () -> trainer(network, batches).epochs(0).build(),
            () -> trainer(network, batches).gradientAccumulation(0).build(),
            () -> trainer(network, batches).learningRate(Double.NaN).build(),
            () -> trainer(network, batches).betas(0.9, 1).build(),
            () -> trainer(network, batches).maxGradientNorm(0).build(),
            () -> trainer(network, batches).weightDecay(-1).build(),
            () -> trainer(network, BatchSource.of(List.of())).steps(1).build().run(),
            () ->
                trainer(network, batches).loss((outputs, labels) -> outputs.head()).build().run());
    for (int i = 0; i < wrong.size(); i++) {
      assertThrows(InvalidConfigException.class, wrong.get(i)::run, "case " + i);
    }
  }

  private static TrainerBuilder trainer(Trainable network, BatchSource batches) {
    return Trainer.builder()
        .model(network)
        .loss(Losses.crossEntropy())
        .batches(batches)
        .learningRate(0.01);
  }

  private static BatchSource source(int rows, int size) {
    return BatchSource.shuffled(rows, size, 3, chosen -> batch(chosen.length, chosen[0]));
  }

  /** Points whose class is their largest coordinate of the first three. */
  private static Batch batch(int rows, long seed) {
    NDManager own = NDManager.newBaseManager("PyTorch");
    Random random = new Random(seed);
    float[] features = new float[rows * FEATURES];
    long[] labels = new long[rows];
    for (int row = 0; row < rows; row++) {
      int best = 0;
      for (int i = 0; i < FEATURES; i++) {
        features[row * FEATURES + i] = (float) random.nextGaussian();
        if (i < Network.CLASSES && features[row * FEATURES + i] > features[row * FEATURES + best]) {
          best = i;
        }
      }
      labels[row] = best;
    }
    return new Batch(
        own,
        new NDList(own.create(features, new Shape(rows, FEATURES))),
        new NDList(own.create(labels)));
  }

  private static void assertClose(List<Double> expected, List<Double> actual, double tolerance) {
    assertEquals(expected.size(), actual.size());
    for (int i = 0; i < expected.size(); i++) {
      assertEquals(expected.get(i), actual.get(i), tolerance, "step " + i);
    }
  }
}
