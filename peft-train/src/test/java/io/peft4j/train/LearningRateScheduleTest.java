package io.peft4j.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.InvalidConfigException;
import org.junit.jupiter.api.Test;

final class LearningRateScheduleTest {
  @Test
  void goesAsThoseOfTransformersDo() {
    JsonNode cases = Golden.read("schedules");
    assertEquals(23, cases.size());
    for (JsonNode one : cases) {
      long warmup = one.get("warmup").asLong();
      LearningRateSchedule schedule =
          switch (one.get("name").asText()) {
            case "constant" -> LearningRateSchedule.constant();
            case "constant_with_warmup" -> LearningRateSchedule.constant(warmup);
            case "linear" -> LearningRateSchedule.linear(warmup);
            case "cosine" -> LearningRateSchedule.cosine(warmup);
            case "cosine_with_min_lr" -> LearningRateSchedule.cosine(Warmup.of(warmup), 0.1);
            case "polynomial" -> LearningRateSchedule.polynomial(Warmup.of(warmup), 2, 0.01);
            case "inverse_sqrt" -> LearningRateSchedule.inverseSquareRoot(Warmup.of(warmup));
            case "warmup_stable_decay" -> stable(warmup, one.get("options"));
            default -> throw new AssertionError(one);
          };
      long total = one.get("total").asLong();
      for (int step = 0; step < total; step++) {
        assertEquals(
            one.get("factors").get(step).asDouble(),
            schedule.factor(step, total),
            1e-12,
            one.toString());
      }
    }
  }

  @Test
  void refusesNegativeWarmup() {
    assertThrows(InvalidConfigException.class, () -> LearningRateSchedule.linear(-1));
  }

  private static LearningRateSchedule stable(long warmup, JsonNode options) {
    LearningRateSchedule.Decay decay =
        switch (options.get("decay_type").asText()) {
          case "linear" -> LearningRateSchedule.Decay.LINEAR;
          case "cosine" -> LearningRateSchedule.Decay.COSINE;
          default -> LearningRateSchedule.Decay.ONE_MINUS_SQRT;
        };
    return LearningRateSchedule.warmupStableDecay(
        Warmup.of(warmup),
        options.get("num_decay_steps").asLong(),
        decay,
        options.get("min_lr_ratio").asDouble());
  }

  @Test
  void roundsAShareOfWarmupUp() {
    assertEquals(4, Warmup.ratio(0.03).steps(101));
    assertEquals(0, Warmup.ratio(0).steps(101));
    assertThrows(InvalidConfigException.class, () -> Warmup.ratio(1.1));
  }
}
