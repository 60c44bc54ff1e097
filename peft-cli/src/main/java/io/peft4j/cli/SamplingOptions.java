package io.peft4j.cli;

import io.peft4j.InvalidConfigException;
import io.peft4j.models.generate.GenerationOptions;
import io.peft4j.models.generate.GenerationOptionsBuilder;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** How tokens are chosen and when a text ends: what several commands share. */
final class SamplingOptions {
  @Option(
      names = "--max-new-tokens",
      paramLabel = "N",
      defaultValue = "256",
      description = "The most tokens that are generated (default: ${DEFAULT-VALUE}).")
  private int maxNewTokens;

  @Option(
      names = "--greedy",
      description = "Take the most probable token. So it is without any of the next five options.")
  private boolean greedy;

  @Option(
      names = "--temperature",
      paramLabel = "T",
      description = "Draw tokens, from logits divided by T.")
  private @Nullable Double temperature;

  @Option(
      names = "--top-p",
      paramLabel = "P",
      description = "Draw from the fewest tokens that have probability P together.")
  private @Nullable Double topP;

  @Option(
      names = "--top-k",
      paramLabel = "K",
      description = "Draw from the K most probable tokens; 0 for all (default when drawing: 50).")
  private @Nullable Integer topK;

  @Option(
      names = "--min-p",
      paramLabel = "P",
      description = "Draw from tokens at least P times as probable as the most probable.")
  private @Nullable Double minP;

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "Draw the same tokens each time the same N is given.")
  private @Nullable Long seed;

  @Option(
      names = "--repetition-penalty",
      paramLabel = "X",
      description = "Above 1, makes tokens that have been there less probable.")
  private @Nullable Double repetitionPenalty;

  @Option(
      names = "--stop",
      paramLabel = "TEXT",
      description = "End before TEXT where it appears; may be given several times.")
  private List<String> stops = new ArrayList<>();

  int maxNewTokens() {
    return maxNewTokens;
  }

  /**
   * The options as they were given. What was not, the base's generation_config.json may set, but
   * not whether tokens are drawn.
   */
  GenerationOptionsBuilder options() {
    boolean narrowed = temperature != null || topP != null || topK != null || minP != null;
    if (greedy && narrowed) {
      throw new InvalidConfigException(
          "--greedy draws nothing: it cannot go with --temperature, --top-p, --top-k or --min-p");
    }
    GenerationOptionsBuilder options =
        GenerationOptions.builder()
            .maxNewTokens(maxNewTokens)
            .sample(!greedy && (narrowed || seed != null));
    if (temperature != null) {
      options.temperature(temperature);
    }
    if (topP != null) {
      options.topP(topP);
    }
    if (topK != null) {
      options.topK(topK);
    }
    if (minP != null) {
      options.minP(minP);
    }
    if (seed != null) {
      options.seed(seed);
    }
    if (repetitionPenalty != null) {
      options.repetitionPenalty(repetitionPenalty);
    }
    if (!stops.isEmpty()) {
      options.stopStrings(stops);
    }
    return options;
  }
}
