package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterStateException;
import io.peft4j.LayerDelta;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.testkit.LiveArrays;
import io.peft4j.testkit.TinyNetwork;
import io.peft4j.train.Batch;
import io.peft4j.train.BatchSource;
import io.peft4j.train.ClassificationBatches;
import io.peft4j.train.Evaluation;
import io.peft4j.train.EvaluationSettings;
import io.peft4j.train.Losses;
import io.peft4j.train.Trainer;
import io.peft4j.train.TrainerBuilder;
import io.peft4j.train.TrainingResult;
import io.peft4j.train.data.TaskBatches;
import io.peft4j.train.metric.Metrics;
import io.peft4j.train.report.LayerMovement;
import io.peft4j.train.report.MovementReport;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Tasks that are trained together, each with a LoRA of its own. */
final class MixedTasksTest {
  private static final int TEXTS = 24;

  private final NDManager manager = NDManager.newBaseManager("PyTorch");
  private final TinyNetwork network = new TinyNetwork(5);
  private PeftModel model;

  @BeforeEach
  void open() {
    model = Peft.open(network);
    for (String name : List.of("even", "low", "idle")) {
      model.addAdapter(
          name, LoraConfig.builder().rank(4).alpha(8).targetModules("mix", "up", "down").build());
    }
    model.trainAdapters("even", "low");
  }

  @AfterEach
  void close() {
    model.close();
    network.close();
    manager.close();
  }

  /** The same texts with a class that each task sees in another way. */
  private static ClassificationBatches texts(int batchSize, String... tasks) {
    ClassificationBatches.Builder texts = ClassificationBatches.builder().batchSize(batchSize);
    for (String task : tasks) {
      Random random = new Random(11);
      for (int i = 0; i < TEXTS; i++) {
        // One token again and again: the network knows no order.
        long[] ids = new long[4 + i % 3];
        Arrays.fill(ids, 1 + random.nextInt(TinyNetwork.TOKENS - 1));
        int label = (int) (task.equals("low") ? (ids[0] < 6 ? 0 : 1) : 1 + ids[0] % 2);
        texts.add(ids, label, task);
      }
    }
    return texts.build();
  }

  /** The network takes no mask: texts of a batch are cut to its shortest. */
  private static BatchSource bare(BatchSource source) {
    return new BatchSource() {
      @Override
      public Iterator<Batch> epoch(int epoch) {
        List<Batch> batches = new ArrayList<>();
        source
            .epoch(epoch)
            .forEachRemaining(
                batch -> {
                  NDList inputs = new NDList(batch.inputs().head().get(":, :4").duplicate());
                  NDManager owner = NDManager.newBaseManager("PyTorch");
                  inputs.attach(owner);
                  NDList labels = new NDList(batch.labels().head().duplicate());
                  labels.attach(owner);
                  batches.add(new Batch(owner, inputs, labels).withAdapters(batch.adapters()));
                  batch.close();
                });
        return batches.iterator();
      }

      @Override
      public OptionalInt batchesPerEpoch() {
        return source.batchesPerEpoch();
      }
    };
  }

  private TrainerBuilder trainer(BatchSource batches) {
    return Trainer.builder()
        .model(model)
        .loss(Losses.crossEntropy())
        .batches(batches)
        .learningRate(0.01)
        .epochs(60);
  }

  @Test
  void eachTaskLearnsWithItsOwnAdapter() {
    try (NDManager owner = NDManager.newBaseManager("PyTorch")) {
      Map<String, NDArray> idle = model.stateDict("idle", owner);
      int live = LiveArrays.count();
      MovementReport report = new MovementReport(model, line -> assertTrue(line.contains("moved")));
      TrainingResult result =
          trainer(bare(texts(8, "even", "low")))
              .listener(report)
              .evaluation(
                  EvaluationSettings.builder(bare(texts(8, "even", "low")))
                      .metric(Metrics.byAdapter(Metrics::accuracy))
                      .build())
              .build()
              .run();
      // The gradients of two adapters' tensors stay with them.
      assertEquals(live, LiveArrays.count());
      Evaluation last = result.evaluations().get(result.evaluations().size() - 1);
      assertEquals(
          List.of("loss/even", "loss/low", "accuracy/even", "accuracy/low"),
          List.copyOf(last.metrics().keySet()));
      assertTrue(last.metrics().get("accuracy/even") > 0.95, last.toString());
      assertTrue(last.metrics().get("accuracy/low") > 0.95, last.toString());
      double mean = (last.metrics().get("loss/even") + last.metrics().get("loss/low")) / 2;
      assertEquals(last.loss(), mean, 1e-5);
      assertArrayEquals(
          idle.get(key("layers.0.mix", "B")).toFloatArray(),
          model.stateDict("idle", owner).get(key("layers.0.mix", "B")).toFloatArray());
      checkMovements(report.movements());
    }
  }

  private static String key(String path, String factor) {
    return "base_model.model." + path + ".lora_" + factor + ".weight";
  }

  private void checkMovements(List<LayerMovement> movements) {
    assertEquals(12, movements.size());
    for (LayerMovement movement : movements) {
      assertTrue(movement.distance() > 0 && movement.delta() > 0, movement.toString());
      assertTrue(movement.relative() > 0 && movement.relative() < 10, movement.toString());
    }
    // The norm is that of the matrix that merging adds.
    try (NDManager owner = NDManager.newBaseManager("PyTorch")) {
      Map<String, NDArray> state = model.stateDict("even", owner);
      NDArray delta =
          state.get(key("layers.1.up", "B")).matMul(state.get(key("layers.1.up", "A"))).mul(2);
      LayerDelta found =
          model.layerDeltas("even").stream()
              .filter(one -> one.path().equals("layers.1.up"))
              .findFirst()
              .orElseThrow();
      assertEquals(Math.sqrt(delta.pow(2).sum().getFloat()), found.norm(), 1e-4);
    }
    assertEquals(0, model.layerDeltas("idle").get(0).norm());
  }

  @Test
  void mixedBatchesTrainAsSeparateOnesDo() {
    model.copyAdapter("even", "alone");
    Map<String, BatchSource> tasks = new LinkedHashMap<>();
    tasks.put("even", bare(texts(TEXTS, "even")));
    tasks.put("low", bare(texts(TEXTS, "low")));
    train(TaskBatches.of(tasks));
    model.trainAdapters("alone");
    // The mean over one task instead of two: gradients twice as large, which AdamW takes alike.
    train(bare(texts(TEXTS, "alone")));
    try (NDManager owner = NDManager.newBaseManager("PyTorch")) {
      Map<String, NDArray> alone = model.stateDict("alone", owner);
      model
          .stateDict("even", owner)
          .forEach(
              (key, values) ->
                  assertArrayEquals(
                      alone.get(key).toFloatArray(), values.toFloatArray(), 2e-3f, key));
      assertTrue(alone.get(key("layers.1.down", "B")).abs().max().getFloat() > 0.02);
    }
  }

  private void train(BatchSource batches) {
    trainer(batches).epochs(3).maxGradientNorm(Double.POSITIVE_INFINITY).build().run();
  }

  @Test
  void aCopyBeginsAsTheOtherIsAndSharesNothing() {
    model.addAdapter(
        "random",
        LoraConfig.builder()
            .rank(2)
            .alpha(2)
            .targetModules("mix")
            .initialization(LoraInitialization.Kind.RANDOM)
            .build());
    model.copyAdapter("random", "copy");
    NDList inputs = new NDList(manager.create(new long[] {1, 2, 3, 4}, new Shape(2, 2)));
    float[] expected = model.with("random").forward(inputs).head().toFloatArray();
    assertArrayEquals(expected, model.with("copy").forward(inputs).head().toFloatArray());
    model.deleteAdapter("random");
    assertArrayEquals(expected, model.with("copy").forward(inputs).head().toFloatArray());
    assertThrows(AdapterStateException.class, () -> model.copyAdapter("copy", "even"));
    assertThrows(AdapterStateException.class, () -> model.copyAdapter("random", "again"));
  }

  @Test
  void tasksAreMixedRowByRow() {
    Map<String, BatchSource> tasks = new LinkedHashMap<>();
    tasks.put("even", source(3, 2, 5));
    tasks.put("low", source(1, 4, 3));
    TaskBatches mixed = TaskBatches.of(tasks);
    assertEquals(3, mixed.batchesPerEpoch().orElseThrow());
    int live = LiveArrays.count();
    Iterator<Batch> batches = mixed.epoch(0);
    try (Batch batch = batches.next()) {
      assertEquals(List.of("even", "even", "low", "low", "low", "low"), batch.adapters());
      assertEquals(new Shape(6, 5), batch.inputs().head().getShape());
      assertArrayEquals(new long[] {3, 3, 3, 0, 0}, batch.inputs().head().get(2).toLongArray());
      assertArrayEquals(
          new long[] {3, 3, 3, -100, -100}, batch.labels().head().get(5).toLongArray());
    }
    try (Batch batch = batches.next()) {
      assertEquals(List.of("even", "even"), batch.adapters());
    }
    LiveArrays.assertCount(live, "closing what was taken");
    try (Batch rest = mixed.epoch(0, 2).next()) {
      assertEquals(List.of("even", "even"), rest.adapters());
    }
  }

  private static BatchSource source(int batches, int rows, int length) {
    return BatchSource.of(
        Collections.nCopies(
            batches,
            () -> {
              NDManager owner = NDManager.newBaseManager("PyTorch");
              NDArray values = owner.zeros(new Shape(rows, length), DataType.INT64).add(length);
              return new Batch(owner, new NDList(values), new NDList(values.duplicate()));
            }));
  }

  @Test
  void adaptersThatNoRowNamesAreTold() {
    model.trainAdapters("even", "low", "idle");
    String message =
        assertThrows(
                AdapterStateException.class,
                () -> trainer(bare(texts(8, "even", "low"))).build().run())
            .getMessage();
    assertTrue(message.contains("no row of the data names") && message.contains("idle"), message);
  }
}
