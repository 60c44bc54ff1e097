package io.peft4j.train.report;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftException;
import io.peft4j.state.Json;
import io.peft4j.train.Evaluation;
import io.peft4j.train.TrainingListener;
import io.peft4j.train.TrainingResult;
import io.peft4j.train.TrainingStep;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class ReportsTest {
  @TempDir private Path directory;

  private static double loss(long step) {
    return 2.0 / step;
  }

  private static Evaluation evaluation(long step) {
    return new Evaluation(step, 0, loss(step), 8, Map.of("accuracy", 0.5), 0.25, true);
  }

  /** Steps, an evaluation every fourth and a checkpoint every sixth, as a trainer tells of them. */
  private static void tell(TrainingListener listener, long from, long to) {
    for (long i = from; i <= to; i++) {
      listener.onStep(new TrainingStep(i, 12, (int) i / 7, loss(i), 1e-3, i, 4, 100));
      if (i % 4 == 0) {
        listener.onEvaluation(evaluation(i));
      }
      if (i % 6 == 0) {
        listener.onCheckpoint(i, Path.of("out", "checkpoint-" + i));
      }
    }
  }

  private static TrainingResult result() {
    List<Double> losses = IntStream.rangeClosed(1, 12).mapToObj(ReportsTest::loss).toList();
    List<Evaluation> evaluations = List.of(evaluation(4), evaluation(8), evaluation(12));
    return new TrainingResult(losses, losses, 3, 48, 1200, evaluations);
  }

  private static List<JsonNode> lines(Path file) throws IOException {
    return Files.readAllLines(file).stream().map(line -> Json.parse(line, "line")).toList();
  }

  @Test
  void linesAreTransformersAndTheLossIsTheMeanSinceTheLineBefore() throws IOException {
    Path file = directory.resolve("new").resolve("metrics.jsonl");
    MetricsFile metrics = new MetricsFile(file, 3);
    tell(metrics, 1, 12);
    metrics.onEnd(result());
    List<JsonNode> lines = lines(file);
    assertEquals(4 + 3 + 2 + 1, lines.size());
    assertEquals(
        "{\"step\":3,\"epoch\":0,\"loss\":"
            + (loss(1) + loss(2) + loss(3)) / 3
            + ",\"grad_norm\":3.0,\"learning_rate\":0.001,\"tokens_per_second\":100.0}",
        lines.get(0).toString());
    assertEquals(
        "{\"step\":4,\"epoch\":0,\"eval_loss\":0.5,\"eval_perplexity\":"
            + Math.exp(0.5)
            + ",\"eval_accuracy\":0.5,\"eval_runtime\":0.25}",
        lines.get(1).toString());
    assertEquals((loss(4) + loss(5) + loss(6)) / 3, lines.get(2).get("loss").asDouble(), 1e-12);
    assertEquals("{\"step\":6,\"checkpoint\":\"checkpoint-6\"}", lines.get(3).toString());
    assertEquals(4, lines.get(9).get("train_steps_per_second").asDouble());
  }

  @Test
  void aRunTakenUpAgainTellsOfNoStepTwice() throws IOException {
    Path whole = directory.resolve("whole.jsonl");
    tell(new MetricsFile(whole, 3), 1, 12);
    Path file = directory.resolve("metrics.jsonl");
    tell(new MetricsFile(file, 3), 1, 10);
    Files.writeString(file, Files.readString(file) + "{\"step\":11,\"epo");
    tell(new MetricsFile(file, 3), 7, 12);
    assertEquals(lines(whole), lines(file));
    // A run that ends where it was taken up, and one that begins anew.
    MetricsFile ended = new MetricsFile(file, 3);
    ended.onEnd(result());
    assertEquals(lines(whole).size() + 1, lines(file).size());
    tell(new MetricsFile(file, 3), 1, 12);
    assertEquals(lines(whole), lines(file));
  }

  @Test
  void aFileOfSomethingElseIsLeftAlone() throws IOException {
    for (String other :
        List.of("text\n", "{\"a\":1}\n", "{\"step\":\"1\"}\n", "{\"step\":1e99}\n", "[]\n")) {
      Path file = Files.writeString(directory.resolve("other"), other);
      MetricsFile metrics = new MetricsFile(file, 1);
      assertThrows(MalformedFileException.class, () -> tell(metrics, 1, 1));
      assertEquals(other, Files.readString(file));
    }
    Path endless = Files.writeString(directory.resolve("endless"), "x".repeat(200_000));
    assertThrows(MalformedFileException.class, () -> tell(new MetricsFile(endless, 1), 1, 1));
    assertThrows(PeftException.class, () -> tell(new MetricsFile(directory, 1), 1, 1));
    assertThrows(InvalidConfigException.class, () -> new MetricsFile(endless, 0));
    assertThrows(InvalidConfigException.class, () -> new TensorBoardWriter(directory, 0));
  }

  @Test
  void valuesThatAreNotFiniteAreNull() throws IOException {
    Path file = directory.resolve("metrics.jsonl");
    MetricsFile metrics = new MetricsFile(file, 1);
    metrics.onStep(new TrainingStep(1, 2, 0, Double.NaN, 1e-3, 1, 4, 0));
    assertTrue(lines(file).get(0).get("loss").isNull());
    assertTrue(lines(file).get(0).path("tokens_per_second").isMissingNode());
  }

  @Test
  void eventsAreThoseOfTensorBoardByteForByte() throws IOException {
    Path golden = Path.of(System.getProperty("peft4j.golden"), "metrics", "events.tfevents");
    Path file = directory.resolve("events");
    EventFile events = EventFile.create(file, 1234567890.5);
    events.start(1234567890.5, 1);
    Map<String, Double> values = new LinkedHashMap<>();
    values.put("train/loss", 1.25);
    values.put("train/grad_norm", 3e-5);
    events.scalars(1234567891.5, 300, values);
    assertArrayEquals(Files.readAllBytes(golden), Files.readAllBytes(file));
  }

  @Test
  void curvesCanBeReadBack() throws IOException {
    tell(new TensorBoardWriter(directory, 3, () -> 1_700_000_000_123L), 1, 12);
    tell(new TensorBoardWriter(directory, 3), 7, 8);
    List<Path> files;
    try (Stream<Path> all = Files.list(directory)) {
      files = all.sorted().toList();
    }
    assertEquals(2, files.size());
    String name = files.get(0).getFileName().toString();
    assertTrue(
        name.matches("events\\.out\\.tfevents\\.1700000000\\.[A-Za-z0-9_.-]+\\.\\d+\\.\\d+"), name);
    List<String> found = read(files.get(0));
    assertEquals("version brain.Event:2", found.get(0));
    assertEquals("start at 1", found.get(1));
    assertTrue(found.contains("3 train/learning_rate 0.001"), found.toString());
    assertTrue(found.contains("4 eval/accuracy 0.5"), found.toString());
    assertTrue(
        found.contains("6 train/loss " + (float) ((loss(4) + loss(5) + loss(6)) / 3)),
        found.toString());
    assertEquals(4, found.stream().filter(line -> line.contains("train/loss")).count());
    assertEquals("start at 7", read(files.get(1)).get(1));
  }

  /** A reader of its own: records, then fields by their numbers. */
  private static List<String> read(Path file) throws IOException {
    List<String> found = new ArrayList<>();
    ByteBuffer all = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    while (all.hasRemaining()) {
      int length = (int) all.getLong();
      all.getInt();
      ByteBuffer event = all.slice(all.position(), length).order(ByteOrder.LITTLE_ENDIAN);
      all.position(all.position() + length + 4);
      long step = 0;
      while (event.hasRemaining()) {
        int key = event.get();
        switch (key >> 3) {
          case 1 -> assertTrue(event.getDouble() > 1.6e9);
          case 2 -> step = event.get();
          case 3 -> found.add("version " + text(event));
          case 5 -> {
            ByteBuffer summary = message(event);
            while (summary.hasRemaining()) {
              assertEquals(1 << 3 | 2, summary.get());
              ByteBuffer value = message(summary);
              assertEquals(1 << 3 | 2, value.get());
              String tag = text(value);
              assertEquals(2 << 3 | 5, value.get());
              found.add(step + " " + tag + " " + value.getFloat());
            }
          }
          default -> {
            assertEquals(7 << 3 | 2, key);
            assertEquals(0x0108, message(event).getShort());
            found.add("start at " + step);
          }
        }
      }
    }
    return found;
  }

  private static ByteBuffer message(ByteBuffer in) {
    int length = in.get() & 0xff;
    if (length > 127) {
      length = length & 0x7f | in.get() << 7;
    }
    ByteBuffer message = in.slice(in.position(), length).order(ByteOrder.LITTLE_ENDIAN);
    in.position(in.position() + length);
    return message;
  }

  private static String text(ByteBuffer in) {
    return StandardCharsets.UTF_8.decode(message(in)).toString();
  }

  @Test
  void thePlotShowsTrainingAndEvaluation() throws IOException {
    Path png = directory.resolve("loss.png");
    new LossPlotFile(png).onEnd(result());
    var image = ImageIO.read(png.toFile());
    long second = 0;
    for (int y = 0; y < image.getHeight(); y++) {
      for (int x = 0; x < image.getWidth(); x++) {
        second += (image.getRGB(x, y) & 0xffffff) == 0xee6677 ? 1 : 0;
      }
    }
    assertTrue(second > 500, "pixels of the second line: " + second);
  }

  @Test
  void theSummaryIsAFewLines() {
    RunSummary summary = new RunSummary(line -> {}).writes("adapter", Path.of("adapter"));
    summary.onCheckpoint(12, Path.of("checkpoint-12"));
    assertEquals(
        List.of(
            "12 steps in 0:00:03, 400 tokens/s",
            "loss 2.0000 at first, 0.1667 at the end",
            "evaluation loss 0.1667, best 0.1667 at step 12; accuracy 0.5000",
            "peak memory 3 MiB",
            "adapter: adapter",
            "checkpoint: checkpoint-12"),
        summary.lines(result(), OptionalLong.of(3 << 20)));
    TrainingResult nothing = new TrainingResult(List.of(), List.of(), 1, 0, 0);
    assertEquals(
        List.of("0 steps in 0:00:01, 0.0 rows/s"),
        new RunSummary(line -> {}).lines(nothing, OptionalLong.empty()));
  }
}
