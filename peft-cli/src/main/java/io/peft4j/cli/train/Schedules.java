package io.peft4j.cli.train;

import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.train.LearningRateSchedule;
import io.peft4j.train.LearningRateSchedule.Decay;
import io.peft4j.train.Warmup;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** Learning rate schedules by transformers' names, with its {@code lr_scheduler_kwargs}. */
final class Schedules {
  private static final String MIN_RATE = "min_lr_ratio";
  private static final Map<String, Set<String>> OPTIONS =
      Map.of(
          "linear", Set.of(),
          "cosine", Set.of(),
          "cosine_with_min_lr", Set.of(MIN_RATE, "min_lr_rate"),
          "constant", Set.of(),
          "constant_with_warmup", Set.of(),
          "polynomial", Set.of("power", "lr_end_ratio"),
          "inverse_sqrt", Set.of(),
          "warmup_stable_decay", Set.of("num_decay_steps", "decay_type", MIN_RATE));

  static final List<String> NAMES = List.copyOf(new TreeMap<>(OPTIONS).keySet());

  private Schedules() {}

  /** The schedule that a configuration asks for. */
  static LearningRateSchedule of(TrainConfig.OptimizerPart part) {
    Map<String, JsonNode> options = part.scheduleOptions();
    Set<String> allowed = OPTIONS.getOrDefault(part.schedule(), Set.of());
    for (String key : options.keySet()) {
      if (!allowed.contains(key)) {
        throw new InvalidConfigException(
            "lr_scheduler_kwargs of "
                + part.schedule()
                + " may be "
                + (allowed.isEmpty() ? "none" : allowed)
                + "; given was '"
                + key
                + "'");
      }
    }
    Warmup warmup =
        part.warmupSteps() >= 0 ? Warmup.of(part.warmupSteps()) : Warmup.ratio(part.warmupRatio());
    double minimum = number(options, MIN_RATE, number(options, "min_lr_rate", 0));
    return switch (part.schedule()) {
      case "linear" -> LearningRateSchedule.linear(warmup);
      case "cosine", "cosine_with_min_lr" -> LearningRateSchedule.cosine(warmup, minimum);
      case "polynomial" ->
          LearningRateSchedule.polynomial(
              warmup, number(options, "power", 1), number(options, "lr_end_ratio", 0));
      case "inverse_sqrt" -> LearningRateSchedule.inverseSquareRoot(warmup);
      case "warmup_stable_decay" -> {
        JsonNode steps = options.get("num_decay_steps");
        if (steps == null || !steps.isIntegralNumber()) {
          throw new InvalidConfigException(
              "warmup_stable_decay needs lr_scheduler_kwargs: {num_decay_steps: N}");
        }
        yield LearningRateSchedule.warmupStableDecay(
            warmup, steps.longValue(), decay(options.get("decay_type")), minimum);
      }
      default -> LearningRateSchedule.constant(warmup);
    };
  }

  private static double number(Map<String, JsonNode> options, String key, double otherwise) {
    JsonNode value = options.get(key);
    if (value == null) {
      return otherwise;
    }
    if (!value.isNumber()) {
      throw new InvalidConfigException(
          "lr_scheduler_kwargs: " + key + " must be a number, was " + value);
    }
    return value.doubleValue();
  }

  private static Decay decay(@Nullable JsonNode given) {
    return switch (given == null ? "cosine" : given.asText()) {
      case "linear" -> Decay.LINEAR;
      case "cosine" -> Decay.COSINE;
      case "1-sqrt" -> Decay.ONE_MINUS_SQRT;
      default ->
          throw new InvalidConfigException(
              "lr_scheduler_kwargs: decay_type must be one of linear, cosine, 1-sqrt, was "
                  + given);
    };
  }
}
