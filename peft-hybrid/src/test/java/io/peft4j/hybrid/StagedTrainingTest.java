package io.peft4j.hybrid;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.engine.Engine;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterSet;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.lora.LoraConfig;
import io.peft4j.testkit.LiveArrays;
import io.peft4j.testkit.TestNetwork;
import io.peft4j.testkit.TinyNetwork;
import io.peft4j.train.Batch;
import io.peft4j.train.BatchSource;
import io.peft4j.train.Interval;
import io.peft4j.train.LearningRateSchedule;
import io.peft4j.train.Losses;
import io.peft4j.train.Stage;
import io.peft4j.train.StagedResult;
import io.peft4j.train.StagedTraining;
import io.peft4j.train.Trainer;
import io.peft4j.train.TrainerBuilder;
import io.peft4j.train.TrainingControl;
import io.peft4j.train.TrainingListener;
import io.peft4j.train.TrainingStep;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Parts of a hybrid trained one after the other. */
final class StagedTrainingTest {
  private static final HybridConfig CONFIG =
      HybridConfig.builder()
          .part("domain", NudgeConfig.of("layers.0", "layers.1"))
          .part(
              "task", LoraConfig.builder().rank(2).dropout(0.1).targetModules("mix", "up").build())
          .build();

  @TempDir Path directory;

  /** Rows whose class is that of their tokens, turned by a shift. */
  private static Batch batch(int shift, int... rows) {
    NDManager own = NDManager.newBaseManager("PyTorch");
    int length = 4;
    long[] tokens = new long[rows.length * length];
    long[] labels = new long[rows.length];
    for (int i = 0; i < rows.length; i++) {
      Random random = new Random(rows[i]);
      int kind = random.nextInt(TinyNetwork.CLASSES);
      for (int j = 0; j < length; j++) {
        tokens[i * length + j] = kind + 3 * random.nextInt(4);
      }
      labels[i] = (kind + shift) % TinyNetwork.CLASSES;
    }
    return new Batch(
        own,
        new NDList(own.create(tokens, new Shape(rows.length, length))),
        new NDList(own.create(labels)));
  }

  private static TrainerBuilder trainer(int shift, double rate, int epochs) {
    return Trainer.builder()
        .batches(BatchSource.shuffled(24, 6, shift, rows -> batch(shift, rows)))
        .loss(Losses.crossEntropy())
        .learningRate(rate)
        .schedule(LearningRateSchedule.linear(1))
        .epochs(epochs);
  }

  private static StagedTraining.Builder staged(
      PeftModel model, TrainingListener first, TrainingListener second) {
    return StagedTraining.builder(model)
        .stage(
            Stage.builder("domain")
                .trains("default/domain")
                .acting(AdapterSet.of("default/domain"))
                .trainer(trainer(0, 0.1, 4).listener(first))
                .build())
        .stage(
            Stage.builder("task")
                .trains("default/task")
                .trainer(trainer(1, 0.05, 6).listener(second))
                .build());
  }

  private static Map<String, float[]> values(PeftModel model) {
    Map<String, float[]> values = new LinkedHashMap<>();
    model
        .adapter("default")
        .parameters()
        .forEach((key, array) -> values.put(key, array.toFloatArray()));
    return values;
  }

  private record End(StagedResult result, Map<String, float[]> values) {}

  private static End run(
      Path directory, TrainingListener first, TrainingListener second, boolean resume) {
    // New adapters begin with random numbers, which must be those of the first time.
    Engine.getEngine("PyTorch").setRandomSeed(9);
    try (TestNetwork network = TestNetwork.tiny();
        PeftModel model = Peft.wrap(network.block(), CONFIG)) {
      HybridPartsTest.randomise(model, "default", 3);
      StagedTraining.Builder training =
          staged(model, first, second).directory(directory).saveEvery(Interval.steps(1));
      StagedResult result = (resume ? training.resume() : training).build().run();
      return new End(result, values(model));
    }
  }

  @Test
  void eachStageTrainsItsPartAndEarlierOnesAreMeasuredAgain() {
    try (TestNetwork network = TestNetwork.tiny();
        PeftModel model = Peft.wrap(network.block(), CONFIG)) {
      int live = LiveArrays.count();
      Map<String, float[]> before = values(model);
      Map<String, float[]> between = new LinkedHashMap<>();
      StagedResult result =
          staged(
                  model,
                  step -> {},
                  new Listener() {
                    @Override
                    public void onBegin(TrainingControl control) {
                      between.putAll(values(model));
                    }
                  })
              .build()
              .run();
      Map<String, float[]> after = values(model);
      for (String key : before.keySet()) {
        boolean domain = key.startsWith("nudge_weights.domain");
        assertEquals(!domain, same(before, between, key), key);
        assertEquals(domain, same(between, after, key), key);
      }
      assertTrue(result.complete());
      assertEquals(List.of("domain", "task"), names(result));
      assertEquals(List.of("default/task"), result.stages().get(1).trained());
      assertEquals(16, result.stages().get(0).training().steps());
      assertEquals(24, result.stages().get(1).training().steps());
      assertEquals(2, result.losses("domain").size());
      assertEquals(1, result.losses("task").size());
      // The second stage teaches what contradicts the first.
      assertTrue(result.forgotten("domain") > 0.05, result.toString());
      assertEquals(0, result.forgotten("task"));
      List<Double> losses = result.stages().get(1).training().losses();
      assertTrue(result.losses("task").get(0) < losses.get(0), result.toString());
      assertTrue(result.toString().startsWith("after domain: domain="), result.toString());
      assertThrows(InvalidConfigException.class, () -> result.losses("none"));
      assertEquals(AdapterSet.of("default"), model.activeAdapters());
      assertEquals(List.of("default"), model.trainedAdapters());
      // Gradients of the second part came and went; nothing else is left.
      assertTrue(LiveArrays.count() <= live + model.adapter("default").parameters().size());
    }
  }

  private static boolean same(Map<String, float[]> one, Map<String, float[]> other, String key) {
    return Arrays.equals(one.get(key), other.get(key));
  }

  private static List<String> names(StagedResult result) {
    return result.stages().stream().map(StagedResult.AfterStage::name).toList();
  }

  private abstract static class Listener implements TrainingListener {
    @Override
    public void onStep(TrainingStep step) {}
  }

  private static final class StopAt implements TrainingListener {
    private final long step;
    private TrainingControl control = new TrainingControl();

    StopAt(long step) {
      this.step = step;
    }

    @Override
    public void onBegin(TrainingControl given) {
      control = given;
    }

    @Override
    public void onStep(TrainingStep done) {
      if (done.step() == step) {
        control.stop();
      }
    }
  }

  @Test
  void endsAlikeWhereverItIsCutOff() {
    End whole = run(directory.resolve("whole"), step -> {}, step -> {}, false);
    assertTrue(whole.result.complete());
    Path cut = directory.resolve("cut");
    End first = run(cut, new StopAt(5), step -> {}, true);
    assertFalse(first.result.complete());
    assertEquals(List.of("domain"), names(first.result));
    assertTrue(first.result.toString().endsWith("stopped"));
    assertFalse(run(cut, step -> {}, new StopAt(1), true).result.complete());
    assertFalse(run(cut, step -> {}, new StopAt(17), true).result.complete());
    End last = run(cut, step -> {}, step -> {}, true);
    assertTrue(last.result.complete());
    whole.values.forEach((key, value) -> assertArrayEquals(value, last.values.get(key), key));
    assertEquals(whole.result.losses("domain"), last.result.losses("domain"));
    assertEquals(
        whole.result.stages().get(1).training().losses(),
        last.result.stages().get(1).training().losses());
    End again = run(cut, step -> {}, step -> {}, true);
    whole.values.forEach((key, value) -> assertArrayEquals(value, again.values.get(key), key));
    assertTrue(Files.isDirectory(cut.resolve("1-domain")));
    assertTrue(Files.isDirectory(cut.resolve("2-task").resolve("checkpoint-24").resolve("task")));
    assertThrows(InvalidConfigException.class, () -> run(cut, step -> {}, step -> {}, false));
  }

  @Test
  void adaptersOfTheirOwnAreTrainedInStagesToo() {
    try (TestNetwork network = TestNetwork.tiny();
        PeftModel model = Peft.open(network.block())) {
      model.addAdapter("domain", CONFIG.part("domain"));
      model.addAdapter("task", CONFIG.part("task"));
      StagedResult result =
          StagedTraining.builder(model)
              .stage(
                  Stage.builder("first")
                      .trains("domain")
                      .acting(AdapterSet.of("domain"))
                      .trainer(trainer(0, 0.1, 1))
                      .build())
              .stage(
                  Stage.builder("second")
                      .trains("task")
                      .acting(AdapterSet.of("domain", "task"))
                      .trainer(trainer(1, 0.1, 1))
                      .build())
              .build()
              .run();
      assertEquals(2, result.losses("first").size());
      assertTrue(model.activeAdapters().isNone());
    }
  }

  @Test
  void whatCannotBeIsToldBeforeAnythingIsTrained() {
    try (TestNetwork network = TestNetwork.tiny();
        PeftModel model = Peft.wrap(network.block(), CONFIG)) {
      Map<String, float[]> before = values(model);
      Stage good = Stage.builder("one").trains("default/task").trainer(trainer(0, 1, 1)).build();
      assertThrows(InvalidConfigException.class, () -> StagedTraining.builder(model).build());
      assertThrows(
          InvalidConfigException.class,
          () -> StagedTraining.builder(model).stage(good).resume().build());
      Stage twice = Stage.builder("ONE").trains("default").trainer(trainer(0, 1, 1)).build();
      assertThrows(
          InvalidConfigException.class,
          () -> StagedTraining.builder(model).stage(good).stage(twice).build());
      assertThrows(InvalidConfigException.class, () -> Stage.builder("a/b"));
      assertThrows(
          InvalidConfigException.class, () -> Stage.builder("x").trainer(trainer(0, 1, 1)).build());
      assertThrows(
          InvalidConfigException.class, () -> Stage.builder("x").trains("default").build());
      assertThrows(
          InvalidConfigException.class,
          () -> Stage.builder("x").trains("default").trainer(trainer(0, 1, 1).resume()).build());
      Stage unknown =
          Stage.builder("two").trains("default/missing").trainer(trainer(0, 1, 1)).build();
      StagedTraining training =
          StagedTraining.builder(model)
              .stage(Stage.builder("one").trains("default").trainer(trainer(0, 1, 1)).build())
              .stage(unknown)
              .build();
      assertThrows(AdapterStateException.class, training::run);
      assertEquals(List.of("default"), model.trainedAdapters());
      before.forEach((key, value) -> assertArrayEquals(value, values(model).get(key), key));
    }
  }
}
