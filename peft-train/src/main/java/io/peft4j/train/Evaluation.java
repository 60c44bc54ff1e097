package io.peft4j.train;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What an evaluation during training found.
 *
 * @param step updates made so far
 * @param epoch the epoch the last of them was of, from 0
 * @param loss mean over all items that count
 * @param items over how many items
 * @param metrics what the {@linkplain io.peft4j.train.metric.Metric metrics} say, in their order,
 *     without the loss
 * @param seconds wall time
 * @param best whether it is the best so far
 */
public record Evaluation(
    long step,
    int epoch,
    double loss,
    long items,
    Map<String, Double> metrics,
    double seconds,
    boolean best) {

  /** The names that are not for metrics to take. */
  static final String LOSS = "loss";

  static final String PERPLEXITY = "perplexity";

  /** Copies the map, whose order stays. */
  public Evaluation {
    metrics = Collections.unmodifiableMap(new LinkedHashMap<>(metrics));
  }

  /**
   * The perplexity of language models.
   *
   * @return e to the power of the loss
   */
  public double perplexity() {
    return Math.exp(loss);
  }

  /**
   * Everything that was measured.
   *
   * @return {@code loss}, {@code perplexity}, then the metrics
   */
  public Map<String, Double> values() {
    Map<String, Double> values = new LinkedHashMap<>();
    values.put(LOSS, loss);
    values.put(PERPLEXITY, perplexity());
    values.putAll(metrics);
    return Collections.unmodifiableMap(values);
  }
}
