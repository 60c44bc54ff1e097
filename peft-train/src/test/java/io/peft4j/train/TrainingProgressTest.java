package io.peft4j.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.InvalidConfigException;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.junit.jupiter.api.Test;

class TrainingProgressTest {
  private static final long SECOND = 1_000_000_000L;

  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
  private long now = 17 * SECOND;

  private TrainingProgress plain(long steps) {
    PrintStream lines = new PrintStream(bytes, true, StandardCharsets.UTF_8);
    return new TrainingProgress("lora", steps, false, lines, () -> now);
  }

  private List<String> lines() {
    return bytes.toString(StandardCharsets.UTF_8).lines().toList();
  }

  @Test
  void withoutATerminalThereIsALineEveryFiveSecondsAndOneAtTheEnd() {
    try (TrainingProgress progress = plain(20)) {
      for (int i = 0; i < 20; i++) {
        now += SECOND;
        progress.step(0.5, 1e-3);
      }
    }
    assertEquals(4, lines().size(), lines().toString());
    assertEquals(
        "lora: 5/20 (25%), loss 0.5000, learning rate 1.0e-03, 1.0 steps/s, 0:00:15 left",
        lines().get(0));
    assertTrue(lines().get(3).startsWith("lora: 20/20 (100%), "), lines().get(3));
    assertTrue(lines().get(3).endsWith(" 0:00:00 left"), lines().get(3));
    assertFalse(bytes.toString(StandardCharsets.UTF_8).contains("\r"));
  }

  @Test
  void aRunThatBreaksOffLeavesItsLastState() {
    TrainingProgress progress = plain(100_000);
    for (int i = 0; i < 7; i++) {
      now += SECOND;
      progress.step(0.5, 1e-3);
    }
    progress.close();
    progress.close();
    assertEquals(2, lines().size(), lines().toString());
    assertTrue(lines().get(1).startsWith("lora: 7/100000 (0%)"), lines().get(1));
    assertTrue(lines().get(1).endsWith("27:46:33 left"), lines().get(1));
    assertEquals(7, progress.steps());
  }

  @Test
  void aRunWithoutStepsPrintsNothing() {
    plain(3).close();
    assertEquals(List.of(), lines());
  }

  @Test
  void theLossShownIsAnAverageThatFavoursTheLatest() {
    TrainingProgress progress = plain(1000);
    assertTrue(Double.isNaN(progress.averageLoss()));
    progress.step(4, 1e-3);
    assertEquals(4, progress.averageLoss(), 1e-12);
    progress.step(2, 1e-3);
    assertEquals((0.9 * 4 + 2) / 1.9, progress.averageLoss(), 1e-12);
    for (int i = 0; i < 200; i++) {
      progress.step(1, 1e-3);
    }
    assertEquals(1, progress.averageLoss(), 1e-6);
    progress.step(Double.NaN, 1e-3);
    progress.step(1, 1e-3);
    assertTrue(Double.isNaN(progress.averageLoss()));
  }

  @Test
  void theLanguageOfTheMachineDoesNotMatter() {
    Locale before = Locale.getDefault();
    Locale.setDefault(Locale.GERMANY);
    try {
      TrainingProgress progress = plain(1);
      now += SECOND;
      progress.step(0.25, 2.5e-4);
      progress.close();
    } finally {
      Locale.setDefault(before);
    }
    assertTrue(
        lines().get(0).contains("loss 0.2500, learning rate 2.5e-04, 1.0 s"), lines().get(0));
  }

  @Test
  void aListenerShowsEvaluationsAndCountsStepsMadeBefore() {
    TrainingProgress progress = plain(20);
    for (long i = 11; i <= 15; i++) {
      now += SECOND;
      progress.onStep(new TrainingStep(i, 20, 0, 0.5, 1e-3, 1, 4, 0));
    }
    progress.onEvaluation(new Evaluation(15, 0, 0.25, 8, Map.of("accuracy", 0.75), 1, true));
    progress.onFailure(new IllegalStateException());
    assertEquals(
        List.of(
            "lora: 15/20 (75%), loss 0.5000, learning rate 1.0e-03, 1.0 steps/s, 0:00:05 left",
            "lora: step 15/20, evaluation loss 0.2500, accuracy 0.7500"),
        lines());
  }

  @Test
  void stepsAreNeeded() {
    assertThrows(InvalidConfigException.class, () -> TrainingProgress.start("lora", 0));
  }
}
