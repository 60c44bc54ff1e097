package io.peft4j.train;

import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDScope;
import io.peft4j.ForwardMode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftException;
import io.peft4j.torch.GradMode;
import io.peft4j.train.metric.Metric;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Measures a model on data: no gradients, no dropout, nothing random. Holds nothing to close. For
 * the use of one thread, as the metrics are.
 */
public final class Evaluator {
  private final Trainable model;
  private final Loss loss;
  private final EvaluationSettings settings;

  /**
   * An evaluator.
   *
   * @param model what is measured; it stays the caller's
   * @param trained the loss, where the settings have none of their own
   * @param settings data and metrics
   */
  public Evaluator(Trainable model, Loss trained, EvaluationSettings settings) {
    this.model = model;
    this.loss = settings.loss(trained);
    this.settings = settings;
  }

  /**
   * Measures.
   *
   * @param step updates made so far, for the result
   * @param epoch the epoch of the last one, for the result
   * @return what was found
   * @throws InvalidConfigException if no label of the data counts, or metrics have names in common
   */
  public Evaluation evaluate(long step, int epoch) {
    long started = System.nanoTime();
    settings.metrics().forEach(Metric::begin);
    double sum = 0;
    long items = 0;
    TaskLosses tasks = new TaskLosses(loss);
    Iterator<Batch> batches = settings.batches().epoch(0);
    try (Closing closing = new Closing(batches)) {
      while (batches.hasNext()) {
        try (Batch batch = batches.next();
            GradMode off = GradMode.off();
            NDScope scope = new NDScope()) {
          scope.suppressNotUsedWarning();
          long counted = loss.items(batch.labels());
          if (counted > 0) {
            NDList outputs = model.forward(batch, ForwardMode.INFERENCE);
            sum += counted * (double) loss.compute(outputs, batch.labels()).toFloatArray()[0];
            items += counted;
            tasks.add(outputs, batch.labels(), batch.adapters());
            settings
                .metrics()
                .forEach(metric -> metric.add(outputs, batch.labels(), batch.adapters()));
          }
        }
      }
    }
    if (items == 0) {
      throw new InvalidConfigException("no label of the evaluation's batches counts");
    }
    double seconds = (System.nanoTime() - started) / 1e9;
    return new Evaluation(step, epoch, sum / items, items, metrics(tasks), seconds, false);
  }

  private Map<String, Double> metrics(TaskLosses tasks) {
    Map<String, Double> all = new LinkedHashMap<>(tasks.result());
    for (Metric metric : settings.metrics()) {
      metric
          .result()
          .forEach(
              (name, value) -> {
                if (name.equals(Evaluation.LOSS)
                    || name.equals(Evaluation.PERPLEXITY)
                    || all.put(name, value) != null) {
                  throw new InvalidConfigException(
                      "two metrics call their value '" + name + "': names must differ");
                }
              });
    }
    return all;
  }

  /** Closes an iterator that holds something open. */
  record Closing(Iterator<?> iterator) implements AutoCloseable {
    @Override
    public void close() {
      if (iterator instanceof AutoCloseable open) {
        try {
          open.close();
        } catch (RuntimeException e) {
          throw e;
        } catch (Exception e) {
          throw new PeftException("batches cannot be closed: " + e, e);
        }
      }
    }
  }
}
