package io.peft4j.train;

import io.peft4j.InvalidConfigException;
import io.peft4j.TrainableParameter;
import java.util.List;

/**
 * Parameters that are trained alike.
 *
 * @param parameters the parameters; they stay their model's
 * @param learningRateFactor multiplies the learning rate of each step, above 0; 16 for the B
 *     matrices is LoRA+
 * @param weightDecay decoupled weight decay, from 0
 */
public record ParameterGroup(
    List<TrainableParameter> parameters, double learningRateFactor, double weightDecay) {

  /**
   * Checks and copies.
   *
   * @throws InvalidConfigException if a factor is out of range
   */
  public ParameterGroup {
    parameters = List.copyOf(parameters);
    if (!(learningRateFactor > 0) || !Double.isFinite(learningRateFactor)) {
      throw new InvalidConfigException(
          "the learning rate factor of a group must be above 0, was " + learningRateFactor);
    }
    OptimizerSettings.checkNotNegative("the weight decay of a group", weightDecay);
  }
}
