package io.peft4j.train.metric;

import ai.djl.ndarray.NDList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Supplier;

/** One metric for each adapter that rows name. */
final class ByAdapter implements Metric {
  private final Supplier<Metric> each;
  private final Map<String, Metric> metrics = new TreeMap<>();

  ByAdapter(Supplier<Metric> each) {
    this.each = each;
  }

  @Override
  public void begin() {
    metrics.clear();
  }

  @Override
  public void add(NDList outputs, NDList labels) {}

  @Override
  public void add(NDList outputs, NDList labels, List<String> adapters) {
    TaskRows.of(adapters)
        .forEach((adapter, rows) -> metric(adapter).add(rows.select(outputs), rows.select(labels)));
  }

  private Metric metric(String adapter) {
    return metrics.computeIfAbsent(
        adapter,
        name -> {
          Metric metric = each.get();
          metric.begin();
          return metric;
        });
  }

  @Override
  public Map<String, Double> result() {
    Map<String, Double> all = new LinkedHashMap<>();
    metrics.forEach(
        (adapter, metric) ->
            metric.result().forEach((name, value) -> all.put(name + "/" + adapter, value)));
    return all;
  }
}
