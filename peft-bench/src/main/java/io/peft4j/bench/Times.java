package io.peft4j.bench;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/** Seconds by task and round. */
final class Times {
  private final Map<String, double[]> seconds = new LinkedHashMap<>();
  private final int rounds;

  Times(int rounds) {
    this.rounds = rounds;
  }

  void put(String task, int round, double value) {
    seconds.computeIfAbsent(task, name -> new double[rounds])[round] = value;
  }

  Set<String> tasks() {
    return seconds.keySet();
  }

  private double[] of(String task) {
    double[] values = seconds.get(task);
    if (values == null) {
      throw new IllegalArgumentException("no task " + task + ", only " + tasks());
    }
    return values;
  }

  /** The middle of a task's times, in milliseconds. */
  double milliseconds(String task) {
    return median(of(task)) * 1e3;
  }

  /** The median of the quotients of neighbours in time: steadier than that of the medians. */
  double ratio(String numerator, String denominator) {
    double[] ratios = of(numerator).clone();
    for (int i = 0; i < rounds; i++) {
      ratios[i] /= of(denominator)[i];
    }
    return median(ratios);
  }

  static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    int middle = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }
}
