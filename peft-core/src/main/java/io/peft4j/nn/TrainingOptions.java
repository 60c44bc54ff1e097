package io.peft4j.nn;

import io.peft4j.InvalidConfigException;

/**
 * How a training step is computed, beyond what the model is.
 *
 * @param recomputation whether layers keep only their input and are computed again when gradients
 *     go back through them: less memory, about a third more time, the same numbers. Where a base is
 *     packed in few bits and the gradients have to be recorded, it is done anyway
 * @param embeddingNoise the alpha of NEFTune: noise uniform in ±alpha / sqrt(length · dimension) is
 *     added to embedded tokens; 0 for none
 */
public record TrainingOptions(boolean recomputation, double embeddingNoise) {
  /** Everything is kept, and nothing added. */
  public static final TrainingOptions PLAIN = new TrainingOptions(false, 0);

  /**
   * Checks.
   *
   * @throws InvalidConfigException if the noise is negative or not finite
   */
  public TrainingOptions {
    if (!(embeddingNoise >= 0) || !Double.isFinite(embeddingNoise)) {
      throw new InvalidConfigException(
          "the alpha of embedding noise must be finite and not negative, was " + embeddingNoise);
    }
  }
}
