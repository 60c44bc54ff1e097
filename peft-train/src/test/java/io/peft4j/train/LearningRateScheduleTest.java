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
    assertEquals(13, cases.size());
    for (JsonNode one : cases) {
      long warmup = one.get("warmup").asLong();
      LearningRateSchedule schedule =
          switch (one.get("name").asText()) {
            case "constant" -> LearningRateSchedule.constant();
            case "constant_with_warmup" -> LearningRateSchedule.constant(warmup);
            case "linear" -> LearningRateSchedule.linear(warmup);
            case "cosine" -> LearningRateSchedule.cosine(warmup);
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
}
