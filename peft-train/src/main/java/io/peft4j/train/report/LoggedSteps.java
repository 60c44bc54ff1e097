package io.peft4j.train.report;

import io.peft4j.InvalidConfigException;
import io.peft4j.train.TrainingStep;
import java.util.LinkedHashMap;
import java.util.Map;

/** Which steps are logged, and with what: the loss is the mean since the one logged before. */
final class LoggedSteps {
  private final int every;
  private double sum;
  private int count;

  LoggedSteps(int every) {
    if (every < 1) {
      throw new InvalidConfigException("logging steps must be at least 1, were " + every);
    }
    this.every = every;
  }

  /** Takes in a step; true if it is to be logged. */
  boolean add(TrainingStep step) {
    sum += step.loss();
    count++;
    return step.step() % every == 0;
  }

  /** What is logged of a step, by transformers' names; begins the next mean. */
  Map<String, Double> values(TrainingStep step) {
    Map<String, Double> values = new LinkedHashMap<>();
    values.put("loss", sum / count);
    values.put("grad_norm", step.gradientNorm());
    values.put("learning_rate", step.learningRate());
    if (step.tokensPerSecond() > 0) {
      values.put("tokens_per_second", step.tokensPerSecond());
    }
    sum = 0;
    count = 0;
    return values;
  }
}
