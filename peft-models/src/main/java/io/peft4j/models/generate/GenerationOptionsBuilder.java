package io.peft4j.models.generate;

import io.peft4j.InvalidConfigException;
import java.util.List;
import java.util.stream.LongStream;
import org.jspecify.annotations.Nullable;

/** Collects {@link GenerationOptions}. */
public final class GenerationOptionsBuilder {
  private static final int MOST_BEAMS = 1024;

  @Nullable Integer maxNewTokens;
  @Nullable Integer minNewTokens;
  @Nullable Boolean sample;
  @Nullable Double temperature;
  @Nullable Integer topK;
  @Nullable Double topP;
  @Nullable Double minP;
  @Nullable Double repetitionPenalty;
  @Nullable Integer beams;
  @Nullable Double lengthPenalty;
  @Nullable EarlyStopping earlyStopping;
  @Nullable List<String> stopStrings;
  @Nullable List<Long> endTokens;
  @Nullable Long seed;
  boolean modelDefaults = true;

  GenerationOptionsBuilder() {}

  /**
   * Sets the most tokens that are generated; 20 by default, as in transformers.
   *
   * @param maxNewTokens at least 1
   * @return this
   */
  public GenerationOptionsBuilder maxNewTokens(int maxNewTokens) {
    this.maxNewTokens = maxNewTokens;
    return this;
  }

  /**
   * Sets how many tokens come before one that ends the text may; 0 by default. Stop strings end it
   * all the same.
   *
   * @param minNewTokens at least 0
   * @return this
   */
  public GenerationOptionsBuilder minNewTokens(int minNewTokens) {
    this.minNewTokens = minNewTokens;
    return this;
  }

  /**
   * Sets whether tokens are drawn by their probabilities ({@code do_sample}); by default the most
   * probable is taken. Temperature, top-k, top-p and min-p act only where tokens are drawn.
   *
   * @param sample true to draw
   * @return this
   */
  public GenerationOptionsBuilder sample(boolean sample) {
    this.sample = sample;
    return this;
  }

  /**
   * Sets what logits are divided by before a token is drawn; 1 by default. The lower, the more the
   * probable tokens gain.
   *
   * @param temperature a finite number above 0
   * @return this
   */
  public GenerationOptionsBuilder temperature(double temperature) {
    this.temperature = temperature;
    return this;
  }

  /**
   * Sets among how many tokens one is drawn: the most probable, and what is as probable as the last
   * of them; 50 by default, as in transformers, and 0 for all.
   *
   * @param topK at least 0
   * @return this
   */
  public GenerationOptionsBuilder topK(int topK) {
    this.topK = topK;
    return this;
  }

  /**
   * Sets the probability that the tokens to draw from reach together: the most probable, no more of
   * them than needed; 1 by default, which is all.
   *
   * @param topP from 0 to 1
   * @return this
   */
  public GenerationOptionsBuilder topP(double topP) {
    this.topP = topP;
    return this;
  }

  /**
   * Sets the least probability of a token to draw, as a part of the most probable one's; none by
   * default.
   *
   * @param minP from 0 to 1
   * @return this
   */
  public GenerationOptionsBuilder minP(double minP) {
    this.minP = minP;
    return this;
  }

  /**
   * Sets what makes tokens that have been there, in the prompt or since, less probable: a positive
   * logit is divided by it, a negative one multiplied; 1 by default. Among beams it acts on
   * logarithms of probabilities.
   *
   * @param repetitionPenalty a finite number above 0
   * @return this
   */
  public GenerationOptionsBuilder repetitionPenalty(double repetitionPenalty) {
    this.repetitionPenalty = repetitionPenalty;
    return this;
  }

  /**
   * Sets how many continuations are followed at once ({@code num_beams}), of which the most
   * probable is the result; 1 by default.
   *
   * @param beams at least 1
   * @return this
   */
  public GenerationOptionsBuilder beams(int beams) {
    this.beams = beams;
    return this;
  }

  /**
   * Sets the power of the length that a beam's score, which is negative, is divided by; 1 by
   * default. The higher, the more long texts gain.
   *
   * @param lengthPenalty a finite number
   * @return this
   */
  public GenerationOptionsBuilder lengthPenalty(double lengthPenalty) {
    this.lengthPenalty = lengthPenalty;
    return this;
  }

  /**
   * Sets when beams are no longer followed; {@link EarlyStopping#HEURISTIC} by default.
   *
   * @param earlyStopping the rule
   * @return this
   */
  public GenerationOptionsBuilder earlyStopping(EarlyStopping earlyStopping) {
    this.earlyStopping = earlyStopping;
    return this;
  }

  /**
   * Sets what ends the text where it appears; nothing by default. It may begin in the prompt, and a
   * token may go on after it. The text of a result ends before it, its tokens with it.
   *
   * @param stopStrings of at least one character each
   * @return this
   */
  public GenerationOptionsBuilder stopStrings(List<String> stopStrings) {
    this.stopStrings = List.copyOf(stopStrings);
    return this;
  }

  /**
   * Sets the tokens that end the text ({@code eos_token_id}); by default they are those of the
   * model's configuration. With none, only the length ends it.
   *
   * @param endTokens at least 0
   * @return this
   */
  public GenerationOptionsBuilder endTokens(long... endTokens) {
    this.endTokens = LongStream.of(endTokens).boxed().toList();
    return this;
  }

  /**
   * Sets what random numbers are drawn from: the same seed, options and prompt give the same text,
   * whatever other prompts are in the batch. By default every call draws others. They are not the
   * numbers that torch draws.
   *
   * @param seed any number
   * @return this
   */
  public GenerationOptionsBuilder seed(long seed) {
    this.seed = seed;
    return this;
  }

  /**
   * Takes nothing from the model's {@code generation_config.json} but the end tokens. By default
   * all of it holds that is not set here, as in transformers; what is not implemented there is an
   * error then.
   *
   * @return this
   */
  public GenerationOptionsBuilder withoutModelDefaults() {
    modelDefaults = false;
    return this;
  }

  /**
   * Checks and finishes.
   *
   * @return the options
   * @throws InvalidConfigException if a value is out of range, or beams are to be followed and
   *     tokens drawn, which is not implemented
   */
  public GenerationOptions build() {
    check("maxNewTokens", maxNewTokens, maxNewTokens == null || maxNewTokens >= 1, "at least 1");
    check("minNewTokens", minNewTokens, minNewTokens == null || minNewTokens >= 0, "at least 0");
    checkPositive("temperature", temperature);
    check("topK", topK, topK == null || topK >= 0, "at least 0");
    checkPart("topP", topP);
    checkPart("minP", minP);
    checkPositive("repetitionPenalty", repetitionPenalty);
    check(
        "beams",
        beams,
        beams == null || (beams >= 1 && beams <= MOST_BEAMS),
        "from 1 to " + MOST_BEAMS);
    check(
        "lengthPenalty",
        lengthPenalty,
        lengthPenalty == null || Double.isFinite(lengthPenalty),
        "finite");
    check(
        "stopStrings",
        stopStrings,
        stopStrings == null || stopStrings.stream().noneMatch(String::isEmpty),
        "of at least one character each");
    check(
        "endTokens",
        endTokens,
        endTokens == null || endTokens.stream().allMatch(token -> token >= 0),
        "at least 0");
    GenerationOptions options = new GenerationOptions(this);
    checkBeams(options.sample().orElse(false), options.beams().orElse(1));
    return options;
  }

  /** Drawing among beams needs rules of its own. */
  static void checkBeams(boolean sample, int beams) {
    if (sample && beams > 1) {
      throw new InvalidConfigException(
          "drawing tokens (sample) while following several beams is not implemented; use one of them, given was beams = "
              + beams);
    }
  }

  private static void checkPositive(String name, @Nullable Double value) {
    check(
        name,
        value,
        value == null || (value > 0 && Double.isFinite(value)),
        "a finite number above 0");
  }

  private static void checkPart(String name, @Nullable Double value) {
    check(name, value, value == null || (value >= 0 && value <= 1), "from 0 to 1");
  }

  private static void check(String name, @Nullable Object value, boolean allowed, String range) {
    if (!allowed) {
      throw new InvalidConfigException(name + " must be " + range + "; given was " + value);
    }
  }
}
