package io.peft4j.train;

import java.util.Map;

/**
 * A step that has been taken.
 *
 * @param step its number, from 1
 * @param totalSteps steps of the whole run
 * @param epoch the epoch its last batch was of, from 0
 * @param loss the loss before the update
 * @param learningRate the rate the update was made with
 * @param gradientNorm the 2-norm of all gradients before clipping
 * @param samplesPerSecond rows trained a second since the run began
 * @param tokensPerSecond tokens trained a second since the run began; 0 if batches count none
 * @param adapterNorms the part of the norm that is each adapter's, by name; what is of no adapter
 *     has the empty name
 */
public record TrainingStep(
    long step,
    long totalSteps,
    int epoch,
    double loss,
    double learningRate,
    double gradientNorm,
    double samplesPerSecond,
    double tokensPerSecond,
    Map<String, Double> adapterNorms) {

  /** Copies the map. */
  public TrainingStep {
    adapterNorms = Map.copyOf(adapterNorms);
  }

  /**
   * A step of which the adapters' parts are not known.
   *
   * @param step its number, from 1
   * @param totalSteps steps of the whole run
   * @param epoch the epoch its last batch was of, from 0
   * @param loss the loss before the update
   * @param learningRate the rate the update was made with
   * @param gradientNorm the 2-norm of all gradients before clipping
   * @param samplesPerSecond rows trained a second since the run began
   * @param tokensPerSecond tokens trained a second since the run began; 0 if batches count none
   */
  public TrainingStep(
      long step,
      long totalSteps,
      int epoch,
      double loss,
      double learningRate,
      double gradientNorm,
      double samplesPerSecond,
      double tokensPerSecond) {
    this(
        step,
        totalSteps,
        epoch,
        loss,
        learningRate,
        gradientNorm,
        samplesPerSecond,
        tokensPerSecond,
        Map.of());
  }
}
