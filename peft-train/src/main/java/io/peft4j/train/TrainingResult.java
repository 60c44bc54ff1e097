package io.peft4j.train;

import java.util.List;

/**
 * What a run came to.
 *
 * @param losses the loss of each step before its update
 * @param gradientNorms the 2-norm of all gradients of each step before clipping
 * @param seconds wall time of all steps
 * @param samples rows trained, each as often as it came up
 * @param tokens tokens trained; 0 if batches count none
 */
public record TrainingResult(
    List<Double> losses, List<Double> gradientNorms, double seconds, long samples, long tokens) {

  /** Copies the lists. */
  public TrainingResult {
    losses = List.copyOf(losses);
    gradientNorms = List.copyOf(gradientNorms);
  }

  /**
   * How many updates were made.
   *
   * @return steps
   */
  public int steps() {
    return losses.size();
  }

  /**
   * Rows trained a second.
   *
   * @return the rate
   */
  public double samplesPerSecond() {
    return samples / seconds;
  }

  /**
   * Tokens trained a second.
   *
   * @return the rate; 0 if batches count none
   */
  public double tokensPerSecond() {
    return tokens / seconds;
  }
}
