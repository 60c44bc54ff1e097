package io.peft4j.train;

import io.peft4j.InvalidConfigException;
import io.peft4j.train.metric.Metric;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * How a model is evaluated while it is trained: on which data, how often, what is measured, which
 * value tells the best evaluation and when to give up. The end of a run is always evaluated.
 *
 * <p>Early stopping counts as transformers' callback does: an evaluation that is better than the
 * best one before by more than the threshold sets the count back to 0, any other adds 1, and the
 * run stops when the count reaches the patience. Which evaluation is the best has nothing to do
 * with the threshold.
 *
 * <p>Where rows of the data name {@linkplain Batch#withAdapters adapters of their own}, there is a
 * value {@code loss/<adapter>} for each of those beside the loss of all.
 *
 * <p>Immutable, but for the metrics, of which each is used by one run at a time.
 */
public final class EvaluationSettings {
  private final BatchSource batches;
  private final Interval every;
  private final @Nullable Loss loss;
  private final List<Metric> metrics;
  private final String metricForBest;
  private final boolean greaterIsBetter;
  private final int patience;
  private final double threshold;

  private EvaluationSettings(Builder builder) {
    batches = builder.batches;
    every = builder.every;
    loss = builder.loss;
    metrics = List.copyOf(builder.metrics);
    metricForBest = builder.metricForBest;
    greaterIsBetter = builder.greaterIsBetter;
    patience = builder.patience;
    threshold = builder.threshold;
    if (patience < 0) {
      throw new InvalidConfigException(
          "the patience of early stopping must not be negative, was " + patience);
    }
    OptimizerSettings.checkNotNegative("the threshold of early stopping", threshold);
  }

  /**
   * Starts with an evaluation each epoch, told by its loss.
   *
   * @param batches the data to evaluate on: its epoch 0, the same each time; the trainer closes the
   *     batches
   * @return a builder
   */
  public static Builder builder(BatchSource batches) {
    return new Builder(batches);
  }

  BatchSource batches() {
    return batches;
  }

  Interval every() {
    return every;
  }

  /** The loss to evaluate with, given the one that is trained with. */
  Loss loss(Loss trained) {
    Loss own = loss;
    return own == null ? trained : own;
  }

  List<Metric> metrics() {
    return metrics;
  }

  String metricForBest() {
    return metricForBest;
  }

  boolean better(double value, double than) {
    return greaterIsBetter ? value > than : value < than;
  }

  /** 0 for no early stopping. */
  int patience() {
    return patience;
  }

  double threshold() {
    return threshold;
  }

  @Override
  public String toString() {
    return every
        + ", best by "
        + (greaterIsBetter ? "highest " : "lowest ")
        + metricForBest
        + (patience == 0 ? "" : ", patience " + patience + " with threshold " + threshold);
  }

  /** Collects settings. */
  public static final class Builder {
    private final BatchSource batches;
    private Interval every = Interval.epochs();
    private @Nullable Loss loss;
    private final List<Metric> metrics = new ArrayList<>();
    private String metricForBest = Evaluation.LOSS;
    private boolean greaterIsBetter;
    private int patience;
    private double threshold;

    private Builder(BatchSource batches) {
      this.batches = batches;
    }

    /**
     * Sets how often to evaluate; each epoch if not set.
     *
     * @param value {@link Interval#never} for the end of the run only
     * @return this
     */
    public Builder every(Interval value) {
      every = value;
      return this;
    }

    /**
     * Sets the loss to evaluate with; the one that is trained with if not set.
     *
     * @param value for example one without label smoothing
     * @return this
     */
    public Builder loss(Loss value) {
      loss = value;
      return this;
    }

    /**
     * Adds a metric.
     *
     * @param value sees outputs and labels of each batch
     * @return this
     */
    public Builder metric(Metric value) {
      metrics.add(value);
      return this;
    }

    /**
     * Sets which value tells the best evaluation; the loss, the smaller the better, if not set.
     *
     * @param name {@code loss}, {@code perplexity} or what a metric calls its value
     * @param greater whether greater is better
     * @return this
     */
    public Builder metricForBest(String name, boolean greater) {
      metricForBest = name;
      greaterIsBetter = greater;
      return this;
    }

    /**
     * Stops the run when evaluations get no better; it never does if not set.
     *
     * @param evaluations how many in a row may be no better, from 1; 0 for no early stopping
     * @param byMoreThan by how much one must be better to count as better, from 0
     * @return this
     */
    public Builder earlyStopping(int evaluations, double byMoreThan) {
      patience = evaluations;
      threshold = byMoreThan;
      return this;
    }

    /**
     * Checks and makes the settings.
     *
     * @return the settings
     * @throws InvalidConfigException if a value is out of range
     */
    public EvaluationSettings build() {
      return new EvaluationSettings(this);
    }
  }
}
