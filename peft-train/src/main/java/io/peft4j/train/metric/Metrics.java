package io.peft4j.train.metric;

import ai.djl.ndarray.NDList;
import io.peft4j.InvalidConfigException;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.function.Supplier;
import java.util.function.ToDoubleFunction;

/**
 * The usual metrics. They take the first output as logits, predict the class with the largest, and
 * keep only counts. Labels are int64; -100 marks what does not count. A share of nothing is NaN
 * where nothing was added at all, and 0 where scikit-learn has its default, 0: a class never
 * predicted has precision 0. The perplexity of language models is the evaluation's own value.
 */
public final class Metrics {
  private Metrics() {}

  /**
   * The share of rows whose class is predicted.
   *
   * @return a metric with the value {@code accuracy}
   */
  public static Metric accuracy() {
    return accuracy(Items.ROWS);
  }

  /**
   * The share of items whose class is predicted.
   *
   * @param items what is predicted
   * @return a metric with the value {@code accuracy}; {@code token_accuracy} of next tokens
   */
  public static Metric accuracy(Items items) {
    return new Single(
        items == Items.NEXT_TOKENS ? "token_accuracy" : "accuracy",
        new ClassCounts(items),
        ClassCounts::accuracy);
  }

  /**
   * Matthews' correlation coefficient of predicted and true classes, two or more.
   *
   * @param items what is predicted
   * @return a metric with the value {@code matthews_correlation}, -1 to 1; 0 where all items have
   *     one class or are predicted to
   */
  public static Metric matthewsCorrelation(Items items) {
    return new Single("matthews_correlation", new ClassCounts(items), ClassCounts::matthews);
  }

  /**
   * Precision, recall and F1.
   *
   * @param items what is predicted
   * @param averaging how the classes' scores become one
   * @return a metric with the values {@code precision}, {@code recall} and {@code f1} of two
   *     classes, {@code precision_macro} and so on where classes are averaged
   */
  public static Metric f1(Items items, Averaging averaging) {
    return new Scores(new ClassCounts(items), averaging);
  }

  /**
   * How well the spans of answers are found. The span predicted is the one, not ending before it
   * begins, whose two logits have the largest sum. A position below 0 counts as 0, as in the loss;
   * a row whose answer is beyond its end, or ends before it begins, does not count.
   *
   * @return a metric of the first two outputs, logits of begin and end, each [rows, length], and
   *     the first two label arrays, positions int64 [rows], with the values {@code exact_match},
   *     the share of rows whose span is the true one, and {@code span_f1}, the mean of twice the
   *     common positions over the sum of both lengths
   */
  public static Metric answers() {
    return new AnswerSpans();
  }

  /**
   * A metric of each task by itself, where rows of a batch have adapters of their own.
   *
   * @param each makes the metric of one adapter
   * @return a metric with the values of each adapter's, named for example {@code accuracy/style};
   *     rows of batches that name no adapters are not counted
   */
  public static Metric byAdapter(Supplier<Metric> each) {
    return new ByAdapter(each);
  }

  private record Single(String name, ClassCounts counts, ToDoubleFunction<ClassCounts> value)
      implements Metric {
    @Override
    public void begin() {
      counts.clear();
    }

    @Override
    public void add(NDList outputs, NDList labels) {
      counts.add(outputs, labels);
    }

    @Override
    public Map<String, Double> result() {
      return Map.of(name, value.applyAsDouble(counts));
    }
  }

  private record Scores(ClassCounts counts, Averaging averaging) implements Metric {
    @Override
    public void begin() {
      counts.clear();
    }

    @Override
    public void add(NDList outputs, NDList labels) {
      counts.add(outputs, labels);
      if (averaging == Averaging.BINARY && counts.classes() != 2) {
        throw new InvalidConfigException(
            "binary F1 needs 2 classes, the model has "
                + counts.classes()
                + "; average them instead (MICRO, MACRO, WEIGHTED)");
      }
    }

    @Override
    public Map<String, Double> result() {
      double[] scores = {Double.NaN, Double.NaN, Double.NaN};
      if (counts.items() > 0) {
        scores =
            switch (averaging) {
              case BINARY -> scores(1);
              case MICRO -> {
                double all = counts.accuracy();
                yield new double[] {all, all, all};
              }
              case MACRO, WEIGHTED -> mean();
            };
      }
      String suffix =
          averaging == Averaging.BINARY ? "" : "_" + averaging.name().toLowerCase(Locale.ROOT);
      Map<String, Double> named = new LinkedHashMap<>();
      named.put("precision" + suffix, scores[0]);
      named.put("recall" + suffix, scores[1]);
      named.put("f1" + suffix, scores[2]);
      return named;
    }

    private double[] mean() {
      double[] sums = new double[3];
      double weights = 0;
      for (int i = 0; i < counts.classes(); i++) {
        if (counts.occurs(i)) {
          double weight = averaging == Averaging.MACRO ? 1 : counts.labelled(i);
          weights += weight;
          double[] one = scores(i);
          for (int k = 0; k < sums.length; k++) {
            sums[k] += weight * one[k];
          }
        }
      }
      for (int k = 0; k < sums.length; k++) {
        sums[k] /= weights;
      }
      return sums;
    }

    private double[] scores(int number) {
      long right = counts.right(number);
      long predicted = counts.predicted(number);
      long labelled = counts.labelled(number);
      return new double[] {
        share(right, predicted), share(right, labelled), share(2 * right, predicted + labelled)
      };
    }

    private static double share(long part, long whole) {
      return whole == 0 ? 0 : (double) part / whole;
    }
  }
}
