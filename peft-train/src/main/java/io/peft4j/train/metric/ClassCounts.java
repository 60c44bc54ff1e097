package io.peft4j.train.metric;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.InvalidConfigException;
import io.peft4j.train.Losses;
import java.util.Arrays;

/**
 * How often each class was the label, was predicted, and was both. That is all that accuracy, F1
 * and Matthews' coefficient need, and it grows with the classes, not with the data.
 */
final class ClassCounts {
  private final Items items;
  private long[] labelled = {};
  private long[] predicted = {};
  private long[] right = {};

  ClassCounts(Items items) {
    this.items = items;
  }

  void clear() {
    labelled = new long[0];
    predicted = new long[0];
    right = new long[0];
  }

  void add(NDList outputs, NDList labels) {
    NDArray logits = logits(outputs, labels);
    int classes = Math.toIntExact(logits.getShape().get(items.rank()));
    if (classes > labelled.length) {
      labelled = Arrays.copyOf(labelled, classes);
      predicted = Arrays.copyOf(predicted, classes);
      right = Arrays.copyOf(right, classes);
    }
    long[] given = labels.head().toLongArray();
    long[] chosen;
    try (NDArray best = logits.argMax(items.rank())) {
      chosen = best.toLongArray();
    }
    boolean shifted = items == Items.NEXT_TOKENS;
    int row = shifted ? Math.toIntExact(labels.head().getShape().get(1)) : 0;
    for (int i = 0; i < given.length; i++) {
      boolean counts = given[i] != Losses.IGNORED && !(shifted && i % row == 0);
      if (counts) {
        count(given[i], chosen[shifted ? i - 1 : i], classes);
      }
    }
  }

  private NDArray logits(NDList outputs, NDList labels) {
    boolean fits = !outputs.isEmpty() && !labels.isEmpty();
    if (fits) {
      Shape logits = outputs.head().getShape();
      fits =
          labels.head().getDataType() == DataType.INT64
              && logits.dimension() == items.rank() + 1
              && logits.get(items.rank()) > 0
              && logits.slice(0, items.rank()).equals(labels.head().getShape());
    }
    if (!fits) {
      throw new InvalidConfigException(
          "a metric of "
              + items
              + " needs logits ["
              + (items == Items.ROWS ? "rows" : "rows, length")
              + ", classes] and labels int64 of the same shape without classes; given were "
              + Arrays.toString(outputs.getShapes())
              + " and "
              + labels.stream()
                  .map(array -> array.getDataType() + " " + array.getShape())
                  .toList());
    }
    return outputs.head();
  }

  private void count(long label, long choice, int classes) {
    if (label < 0 || label >= classes) {
      throw new InvalidConfigException(
          "labels must be from 0 to "
              + (classes - 1)
              + " (or "
              + Losses.IGNORED
              + " to be ignored); one was "
              + label);
    }
    labelled[(int) label]++;
    predicted[(int) choice]++;
    if (label == choice) {
      right[(int) label]++;
    }
  }

  int classes() {
    return labelled.length;
  }

  long labelled(int number) {
    return labelled[number];
  }

  long predicted(int number) {
    return predicted[number];
  }

  long right(int number) {
    return right[number];
  }

  boolean occurs(int number) {
    return labelled[number] + predicted[number] > 0;
  }

  long items() {
    return Arrays.stream(labelled).sum();
  }

  double accuracy() {
    return (double) Arrays.stream(right).sum() / items();
  }

  /** Matthews' coefficient for any number of classes (Gorodkin 2004); 0 where it is undefined. */
  double matthews() {
    double all = items();
    if (all == 0) {
      return Double.NaN;
    }
    double both = 0;
    double labelSquares = 0;
    double predictionSquares = 0;
    for (int i = 0; i < classes(); i++) {
      both += (double) labelled[i] * predicted[i];
      labelSquares += (double) labelled[i] * labelled[i];
      predictionSquares += (double) predicted[i] * predicted[i];
    }
    double spread = (all * all - predictionSquares) * (all * all - labelSquares);
    return spread == 0 ? 0 : (Arrays.stream(right).sum() * all - both) / Math.sqrt(spread);
  }
}
