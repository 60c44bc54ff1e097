package io.peft4j.train;

import ai.djl.ndarray.NDList;
import io.peft4j.train.metric.TaskRows;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** The mean loss of each task of an evaluation whose rows name adapters. */
final class TaskLosses {
  private final Loss loss;
  private final Map<String, Double> sums = new TreeMap<>();
  private final Map<String, Long> items = new TreeMap<>();

  TaskLosses(Loss loss) {
    this.loss = loss;
  }

  void add(NDList outputs, NDList labels, List<String> adapters) {
    TaskRows.of(adapters)
        .forEach(
            (adapter, rows) -> {
              NDList own = rows.select(labels);
              long counted = loss.items(own);
              if (counted > 0) {
                double value = loss.compute(rows.select(outputs), own).toFloatArray()[0];
                sums.merge(adapter, counted * value, Double::sum);
                items.merge(adapter, counted, Long::sum);
              }
            });
  }

  /** {@code loss/<adapter>} to the mean over its items. */
  Map<String, Double> result() {
    Map<String, Double> means = new TreeMap<>();
    items.forEach(
        (adapter, count) ->
            means.put(
                Evaluation.LOSS + "/" + adapter, sums.getOrDefault(adapter, Double.NaN) / count));
    return means;
  }
}
