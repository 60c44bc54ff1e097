package io.peft4j.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDManager;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.train.checkpoint.CheckpointStore;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A run that is interrupted and taken up again ends as one that never was. */
final class ResumeTest {
  private static final int KILLS = 4;

  @TempDir Path directory;
  private NDManager manager;

  @BeforeEach
  void open() {
    manager = NDManager.newBaseManager("PyTorch");
  }

  @AfterEach
  void close() {
    manager.close();
  }

  private record End(TrainingResult result, List<float[]> values) {}

  private End run(Path where, TrainingListener listener, boolean resume) {
    Network network = new Network(manager, 1);
    TrainerBuilder builder = ResumableRun.builder(network, where, 7).listener(listener);
    TrainingResult result = (resume ? builder.resume() : builder).build().run();
    return new End(result, network.values());
  }

  private static void assertSame(End expected, End actual) {
    assertEquals(expected.result.losses(), actual.result.losses());
    assertEquals(expected.result.gradientNorms(), actual.result.gradientNorms());
    assertEquals(expected.result.samples(), actual.result.samples());
    assertEquals(
        expected.result.evaluations().stream().map(Evaluation::values).toList(),
        actual.result.evaluations().stream().map(Evaluation::values).toList());
    for (int i = 0; i < expected.values.size(); i++) {
      assertArrayEquals(expected.values.get(i), actual.values.get(i));
    }
  }

  private static void assertSameFiles(Path expected, Path actual) throws IOException {
    for (String file : List.of(CheckpointStore.PARAMETERS, CheckpointStore.OPTIMIZER)) {
      assertArrayEquals(
          Files.readAllBytes(expected.resolve(file)), Files.readAllBytes(actual.resolve(file)));
    }
  }

  @Test
  void endsAlikeWhenStoppedAndResumedAtAnyStep() throws IOException {
    Path whole = directory.resolve("whole");
    End expected = run(whole, step -> {}, false);
    assertEquals(ResumableRun.STEPS, expected.result.steps());
    Path parts = directory.resolve("parts");
    End last = null;
    for (int stop = 4; stop <= ResumableRun.STEPS + 7; stop += 7) {
      last = run(parts, new StopAt(stop), true);
      assertEquals(Math.min(stop, ResumableRun.STEPS), last.result.steps());
    }
    assertSame(expected, last);
    assertSameFiles(
        new CheckpointStore(whole).path(ResumableRun.STEPS),
        new CheckpointStore(parts).path(ResumableRun.STEPS));
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
  void endsAlikeWhenKilledAtAnyMoment() throws Exception {
    Path whole = directory.resolve("whole");
    End expected = run(whole, step -> {}, false);
    Path killed = directory.resolve("killed");
    Random random = new Random(5);
    long before = 0;
    for (int kill = 0; kill < KILLS; kill++) {
      Process process = fork(killed);
      try (BufferedReader lines =
          new BufferedReader(
              new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
        // A step that has been made, then any moment of the saving and of the steps after it.
        for (int step = random.nextInt(5); step >= 0; step--) {
          assertTrue(lines.readLine() != null);
        }
        TimeUnit.MILLISECONDS.sleep(random.nextInt(100));
        process.destroyForcibly().waitFor();
      }
      CheckpointStore store = new CheckpointStore(killed);
      for (Path checkpoint : store.list().values()) {
        CheckpointStore.verify(checkpoint);
      }
      long now = store.list().isEmpty() ? 0 : store.list().lastKey();
      assertTrue(now >= before);
      before = now;
    }
    assertTrue(before > 0 && before < ResumableRun.STEPS, "killed at " + before);
    End resumed = run(killed, step -> {}, true);
    assertSame(expected, resumed);
    assertSameFiles(
        new CheckpointStore(whole).path(ResumableRun.STEPS),
        new CheckpointStore(killed).path(ResumableRun.STEPS));
    try (Stream<Path> left = Files.list(killed)) {
      assertTrue(left.noneMatch(file -> file.getFileName().toString().startsWith(".")));
    }
  }

  private static Process fork(Path where) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    System.getProperties().stringPropertyNames().stream()
        .filter(name -> name.startsWith("ai.djl") || name.startsWith("DJL"))
        .forEach(name -> command.add("-D" + name + "=" + System.getProperty(name)));
    command.addAll(
        List.of(
            "-cp",
            System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")),
            ResumableRun.class.getName(),
            where.toString()));
    return new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
  }

  @Test
  void keepsTheNewestAndTheBest() {
    End end = run(directory, step -> {}, false);
    Evaluation best =
        end.result.evaluations().stream().filter(Evaluation::best).reduce((a, b) -> b).get();
    List<Long> steps = new ArrayList<>(new CheckpointStore(directory).list().keySet());
    List<Long> expected = new ArrayList<>(List.of(28L, 29L, 30L));
    if (best.step() < 28) {
      expected.add(0, best.step());
    }
    assertEquals(expected, steps);
    // The model is that of the best evaluation.
    Network network = new Network(manager, 1);
    Parameters.load(
        network.parameters(),
        new CheckpointStore(directory).path(best.step()).resolve(CheckpointStore.PARAMETERS));
    assertArrayEquals(network.values().get(0), end.values.get(0));
  }

  @Test
  void refusesDamagedFilesByName() throws IOException {
    run(directory, new StopAt(5), false);
    Path checkpoint = new CheckpointStore(directory).path(5);
    for (String name :
        List.of(CheckpointStore.PARAMETERS, CheckpointStore.OPTIMIZER, CheckpointStore.STATE)) {
      Path file = checkpoint.resolve(name);
      byte[] whole = Files.readAllBytes(file);
      byte[] damaged = whole.clone();
      damaged[damaged.length - 5] ^= 1;
      Files.write(file, damaged);
      assertRefused(name);
      Files.write(file, Arrays.copyOf(whole, whole.length / 2));
      assertRefused(name);
      Files.delete(file);
      assertRefused(name);
      Files.write(file, whole);
    }
    assertEquals(6, run(directory, new StopAt(6), true).result.steps());
  }

  private void assertRefused(String name) {
    Network network = new Network(manager, 1);
    List<float[]> before = network.values();
    Trainer trainer = ResumableRun.builder(network, directory, 7).resume().build();
    MalformedFileException refused = assertThrows(MalformedFileException.class, trainer::run);
    assertTrue(refused.getMessage().contains(name), refused.getMessage());
    assertArrayEquals(before.get(0), network.values().get(0));
  }

  @Test
  void refusesTheCheckpointOfAnotherRun() {
    run(directory, new StopAt(5), false);
    List<TrainerBuilder> others =
        List.of(
            ResumableRun.builder(new Network(manager, 1), directory, 8),
            ResumableRun.builder(new Network(manager, 1), directory, 7).gradientAccumulation(3),
            ResumableRun.builder(new Network(manager, 1), directory, 7).learningRate(0.03),
            ResumableRun.builder(new Network(manager, 1), directory, 7)
                .schedule(LearningRateSchedule.linear(4)),
            ResumableRun.builder(new Network(manager, 1), directory, 7)
                .batches(BatchSource.shuffled(42, 4, 4, ResumableRun::batch)),
            ResumableRun.builder(new Network(manager, 1, 17), directory, 7));
    List<String> named =
        List.of("seed is 7", "accumulation", "optimizer", "schedule", "seed 3", "parameter");
    for (int i = 0; i < others.size(); i++) {
      Trainer trainer = others.get(i).resume().build();
      AdapterStateException refused = assertThrows(AdapterStateException.class, trainer::run);
      assertTrue(refused.getMessage().contains(named.get(i)), refused.getMessage());
      assertTrue(refused.getMessage().contains("checkpoint-5"), refused.getMessage());
    }
    // Nor does a new run mix its checkpoints with those of an old one.
    InvalidConfigException mixed =
        assertThrows(InvalidConfigException.class, () -> run(directory, step -> {}, false));
    assertTrue(mixed.getMessage().contains("resume"), mixed.getMessage());
  }

  @Test
  void isTheSameRunWithAndWithoutEvaluationsAndCheckpoints() {
    End with = run(directory, step -> {}, false);
    Network network = new Network(manager, 1);
    network.dropout = 0.3;
    TrainingResult without =
        Trainer.builder()
            .model(network)
            .loss(Losses.crossEntropy())
            .batches(BatchSource.shuffled(42, 4, 3, ResumableRun::batch))
            .learningRate(0.02)
            .weightDecay(0.1)
            .schedule(LearningRateSchedule.cosine(4))
            .gradientAccumulation(2)
            .epochs(5)
            .seed(7)
            .build()
            .run();
    assertEquals(without.losses(), with.result.losses());
    assertEquals(without.gradientNorms(), with.result.gradientNorms());
    assertFalse(with.result.evaluations().isEmpty());
  }

  @Test
  void keepsMemoryFlatWithEvaluationsAndCheckpoints() {
    List<Integer> arrays = new ArrayList<>();
    run(
        directory,
        step ->
            arrays.add(
                manager.getManagedArrays().size()
                    + manager.getParentManager().getManagedArrays().size()),
        false);
    assertTrue(arrays.get(5) > 0);
    assertEquals(arrays.get(5), arrays.get(arrays.size() - 1));
  }
}
