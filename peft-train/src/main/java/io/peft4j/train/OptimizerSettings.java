package io.peft4j.train;

import io.peft4j.InvalidConfigException;

/**
 * How parameters are updated.
 *
 * @param learningRate the highest rate; a schedule makes the rate of each step from it
 * @param weightDecay decoupled weight decay, from 0
 * @param maxGradientNorm gradients are scaled down where their common 2-norm is larger; infinity
 *     for never
 * @param beta1 decay of the mean of the gradients, in [0, 1)
 * @param beta2 decay of the mean of their squares, in [0, 1)
 * @param epsilon added to the root of the mean square, from 0
 */
public record OptimizerSettings(
    double learningRate,
    double weightDecay,
    double maxGradientNorm,
    double beta1,
    double beta2,
    double epsilon) {

  /**
   * Checks.
   *
   * @throws InvalidConfigException if a value is out of range
   */
  public OptimizerSettings {
    checkNotNegative("the learning rate", learningRate);
    checkNotNegative("the weight decay", weightDecay);
    checkNotNegative("epsilon", epsilon);
    if (!(maxGradientNorm > 0)) {
      throw new InvalidConfigException(
          "the largest gradient norm must be above 0 (infinity for no clipping), was "
              + maxGradientNorm);
    }
    checkBeta("beta1", beta1);
    checkBeta("beta2", beta2);
  }

  /**
   * Starts from what transformers' trainer uses, but for the learning rate, which suits adapters:
   * rate 2e-4, no weight decay, gradients clipped at 1, betas 0.9 and 0.999, epsilon 1e-8.
   *
   * @return a builder
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * The same settings as a builder, to change some.
   *
   * @return a builder
   */
  public Builder toBuilder() {
    Builder builder = new Builder();
    builder.learningRate = learningRate;
    builder.weightDecay = weightDecay;
    builder.maxGradientNorm = maxGradientNorm;
    builder.beta1 = beta1;
    builder.beta2 = beta2;
    builder.epsilon = epsilon;
    return builder;
  }

  static void checkNotNegative(String what, double value) {
    if (!(value >= 0) || !Double.isFinite(value)) {
      throw new InvalidConfigException(what + " must be finite and not negative, was " + value);
    }
  }

  private static void checkBeta(String name, double value) {
    if (!(value >= 0 && value < 1)) {
      throw new InvalidConfigException(name + " must be at least 0 and below 1, was " + value);
    }
  }

  /** Collects settings. */
  public static final class Builder {
    private double learningRate = 2e-4;
    private double weightDecay;
    private double maxGradientNorm = 1;
    private double beta1 = 0.9;
    private double beta2 = 0.999;
    private double epsilon = 1e-8;

    private Builder() {}

    /**
     * Sets the highest learning rate.
     *
     * @param value from 0
     * @return this
     */
    public Builder learningRate(double value) {
      learningRate = value;
      return this;
    }

    /**
     * Sets the decoupled weight decay.
     *
     * @param value from 0
     * @return this
     */
    public Builder weightDecay(double value) {
      weightDecay = value;
      return this;
    }

    /**
     * Sets where gradients are clipped.
     *
     * @param value the largest common 2-norm, above 0; infinity for no clipping
     * @return this
     */
    public Builder maxGradientNorm(double value) {
      maxGradientNorm = value;
      return this;
    }

    /**
     * Sets the decays of the moments.
     *
     * @param first of the mean of the gradients, in [0, 1)
     * @param second of the mean of their squares, in [0, 1)
     * @return this
     */
    public Builder betas(double first, double second) {
      beta1 = first;
      beta2 = second;
      return this;
    }

    /**
     * Sets what is added to the root of the mean square.
     *
     * @param value from 0
     * @return this
     */
    public Builder epsilon(double value) {
      epsilon = value;
      return this;
    }

    /**
     * Checks and makes the settings.
     *
     * @return the settings
     * @throws InvalidConfigException if a value is out of range
     */
    public OptimizerSettings build() {
      return new OptimizerSettings(
          learningRate, weightDecay, maxGradientNorm, beta1, beta2, epsilon);
    }
  }
}
