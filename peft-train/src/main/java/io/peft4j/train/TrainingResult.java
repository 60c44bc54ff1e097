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
 * @param evaluations the evaluations made on the way
 */
public record TrainingResult(
    List<Double> losses,
    List<Double> gradientNorms,
    double seconds,
    long samples,
    long tokens,
    List<Evaluation> evaluations) {

  /** Copies the lists. */
  public TrainingResult {
    losses = List.copyOf(losses);
    gradientNorms = List.copyOf(gradientNorms);
    evaluations = List.copyOf(evaluations);
  }

  /**
   * A run without evaluations.
   *
   * @param losses the loss of each step before its update
   * @param gradientNorms the 2-norm of all gradients of each step before clipping
   * @param seconds wall time of all steps
   * @param samples rows trained, each as often as it came up
   * @param tokens tokens trained; 0 if batches count none
   */
  public TrainingResult(
      List<Double> losses, List<Double> gradientNorms, double seconds, long samples, long tokens) {
    this(losses, gradientNorms, seconds, samples, tokens, List.of());
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
