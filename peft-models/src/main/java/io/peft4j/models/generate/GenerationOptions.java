package io.peft4j.models.generate;

import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * How text is generated. What is not set is as the model's {@code generation_config.json} says, and
 * what is not set there either has transformers' default, which each setter names. Immutable.
 */
public final class GenerationOptions {
  private final @Nullable Integer maxNewTokens;
  private final @Nullable Integer minNewTokens;
  private final @Nullable Boolean sample;
  private final @Nullable Double temperature;
  private final @Nullable Integer topK;
  private final @Nullable Double topP;
  private final @Nullable Double minP;
  private final @Nullable Double repetitionPenalty;
  private final @Nullable Integer beams;
  private final @Nullable Double lengthPenalty;
  private final @Nullable EarlyStopping earlyStopping;
  private final @Nullable List<String> stopStrings;
  private final @Nullable List<Long> endTokens;
  private final @Nullable Long seed;
  private final boolean modelDefaults;

  GenerationOptions(GenerationOptionsBuilder builder) {
    maxNewTokens = builder.maxNewTokens;
    minNewTokens = builder.minNewTokens;
    sample = builder.sample;
    temperature = builder.temperature;
    topK = builder.topK;
    topP = builder.topP;
    minP = builder.minP;
    repetitionPenalty = builder.repetitionPenalty;
    beams = builder.beams;
    lengthPenalty = builder.lengthPenalty;
    earlyStopping = builder.earlyStopping;
    stopStrings = builder.stopStrings;
    endTokens = builder.endTokens;
    seed = builder.seed;
    modelDefaults = builder.modelDefaults;
  }

  /**
   * Options that set nothing.
   *
   * @return the options
   */
  public static GenerationOptions defaults() {
    return builder().build();
  }

  /**
   * Starts options that set nothing.
   *
   * @return a builder
   */
  public static GenerationOptionsBuilder builder() {
    return new GenerationOptionsBuilder();
  }

  /**
   * The same options as a builder, to change some.
   *
   * @return a builder
   */
  public GenerationOptionsBuilder toBuilder() {
    GenerationOptionsBuilder builder = new GenerationOptionsBuilder();
    builder.maxNewTokens = maxNewTokens;
    builder.minNewTokens = minNewTokens;
    builder.sample = sample;
    builder.temperature = temperature;
    builder.topK = topK;
    builder.topP = topP;
    builder.minP = minP;
    builder.repetitionPenalty = repetitionPenalty;
    builder.beams = beams;
    builder.lengthPenalty = lengthPenalty;
    builder.earlyStopping = earlyStopping;
    builder.stopStrings = stopStrings;
    builder.endTokens = endTokens;
    builder.seed = seed;
    builder.modelDefaults = modelDefaults;
    return builder;
  }

  /**
   * The most tokens that are generated.
   *
   * @return what was set; empty if nothing was
   */
  public OptionalInt maxNewTokens() {
    return maxNewTokens == null ? OptionalInt.empty() : OptionalInt.of(maxNewTokens);
  }

  /**
   * How many tokens come before one that ends the text may.
   *
   * @return what was set; empty if nothing was
   */
  public OptionalInt minNewTokens() {
    return minNewTokens == null ? OptionalInt.empty() : OptionalInt.of(minNewTokens);
  }

  /**
   * Whether tokens are drawn by their probabilities.
   *
   * @return what was set; empty if nothing was
   */
  public Optional<Boolean> sample() {
    return Optional.ofNullable(sample);
  }

  /**
   * What logits are divided by before a token is drawn.
   *
   * @return what was set; empty if nothing was
   */
  public OptionalDouble temperature() {
    return temperature == null ? OptionalDouble.empty() : OptionalDouble.of(temperature);
  }

  /**
   * Among how many tokens one is drawn; 0 for all.
   *
   * @return what was set; empty if nothing was
   */
  public OptionalInt topK() {
    return topK == null ? OptionalInt.empty() : OptionalInt.of(topK);
  }

  /**
   * The probability that the tokens to draw from reach together.
   *
   * @return what was set; empty if nothing was
   */
  public OptionalDouble topP() {
    return topP == null ? OptionalDouble.empty() : OptionalDouble.of(topP);
  }

  /**
   * The least probability of a token to draw, as a part of the most probable one's.
   *
   * @return what was set; empty if nothing was
   */
  public OptionalDouble minP() {
    return minP == null ? OptionalDouble.empty() : OptionalDouble.of(minP);
  }

  /**
   * What makes tokens that have been there less probable.
   *
   * @return what was set; empty if nothing was
   */
  public OptionalDouble repetitionPenalty() {
    return repetitionPenalty == null
        ? OptionalDouble.empty()
        : OptionalDouble.of(repetitionPenalty);
  }

  /**
   * How many continuations are followed at once.
   *
   * @return what was set; empty if nothing was
   */
  public OptionalInt beams() {
    return beams == null ? OptionalInt.empty() : OptionalInt.of(beams);
  }

  /**
   * The power of the length that a beam's score is divided by.
   *
   * @return what was set; empty if nothing was
   */
  public OptionalDouble lengthPenalty() {
    return lengthPenalty == null ? OptionalDouble.empty() : OptionalDouble.of(lengthPenalty);
  }

  /**
   * When beams are no longer followed.
   *
   * @return what was set; empty if nothing was
   */
  public Optional<EarlyStopping> earlyStopping() {
    return Optional.ofNullable(earlyStopping);
  }

  /**
   * What ends the text where it appears.
   *
   * @return what was set; empty if nothing was
   */
  public Optional<List<String>> stopStrings() {
    return Optional.ofNullable(stopStrings);
  }

  /**
   * The tokens that end the text.
   *
   * @return what was set; empty if nothing was
   */
  public Optional<List<Long>> endTokens() {
    return Optional.ofNullable(endTokens);
  }

  /**
   * What random numbers are drawn from.
   *
   * @return what was set; empty if nothing was
   */
  public OptionalLong seed() {
    return seed == null ? OptionalLong.empty() : OptionalLong.of(seed);
  }

  /**
   * Whether what is not set here is taken from the model's {@code generation_config.json}.
   *
   * @return false if only the end tokens are
   */
  public boolean modelDefaults() {
    return modelDefaults;
  }
}
