package io.peft4j.models.generate;

import io.peft4j.models.InvalidInputException;
import java.util.List;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.OptionalLong;

/** Options with all gaps filled, for prompts of known length. */
record Settings(
    int maxNewTokens,
    int minNewTokens,
    boolean sample,
    double temperature,
    int topK,
    double topP,
    OptionalDouble minP,
    double repetitionPenalty,
    int beams,
    double lengthPenalty,
    EarlyStopping earlyStopping,
    List<String> stopStrings,
    List<Long> endTokens,
    OptionalLong seed) {
  private static final int NEW_TOKENS = 20;
  private static final int TOP_K = 50;

  /**
   * Fills the gaps.
   *
   * @param given what the caller says
   * @param model what the model's files say
   * @param longest tokens of the longest prompt
   */
  static Settings of(GenerationOptions given, ModelDefaults model, int longest) {
    boolean defaults = given.modelDefaults();
    GenerationOptions file = defaults ? model.options() : GenerationOptions.defaults();
    OptionalInt least = or(given.minNewTokens(), file.minNewTokens());
    int minLength = defaults ? Math.max(0, model.minLength() - longest) : 0;
    Settings settings =
        new Settings(
            or(given.maxNewTokens(), file.maxNewTokens())
                .orElseGet(() -> defaults ? remaining(model, longest) : NEW_TOKENS),
            least.orElse(minLength),
            given.sample().or(file::sample).orElse(false),
            or(given.temperature(), file.temperature()).orElse(1),
            or(given.topK(), file.topK()).orElse(TOP_K),
            or(given.topP(), file.topP()).orElse(1),
            or(given.minP(), file.minP()),
            or(given.repetitionPenalty(), file.repetitionPenalty()).orElse(1),
            or(given.beams(), file.beams()).orElse(1),
            or(given.lengthPenalty(), file.lengthPenalty()).orElse(1),
            given.earlyStopping().or(file::earlyStopping).orElse(EarlyStopping.HEURISTIC),
            given.stopStrings().or(file::stopStrings).orElse(List.of()),
            given.endTokens().orElseGet(model::endTokens),
            given.seed());
    GenerationOptionsBuilder.checkBeams(settings.sample, settings.beams);
    return settings;
  }

  private static int remaining(ModelDefaults model, int longest) {
    OptionalInt all = model.maxLength();
    if (all.isEmpty()) {
      return NEW_TOKENS;
    }
    if (all.getAsInt() <= longest) {
      throw new InvalidInputException(
          "the prompt has "
              + longest
              + " tokens, but the model's generation_config.json allows prompt and text only "
              + all.getAsInt()
              + " together (max_length): set maxNewTokens");
    }
    return all.getAsInt() - longest;
  }

  private static OptionalInt or(OptionalInt first, OptionalInt second) {
    return first.isPresent() ? first : second;
  }

  private static OptionalDouble or(OptionalDouble first, OptionalDouble second) {
    return first.isPresent() ? first : second;
  }

  /** Whether a token ends the text. */
  boolean ends(long token) {
    // Few, mostly one: a loop beats a set.
    for (int i = 0; i < endTokens.size(); i++) {
      if (endTokens.get(i) == token) {
        return true;
      }
    }
    return false;
  }
}
