package io.peft4j.train.metric;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.InvalidConfigException;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/** Exact match and F1 of spans, see {@link Metrics#answers}. */
final class AnswerSpans implements Metric {
  private long rows;
  private long exact;
  private double f1;

  @Override
  public void begin() {
    rows = 0;
    exact = 0;
    f1 = 0;
  }

  @Override
  public void add(NDList outputs, NDList labels) {
    check(outputs, labels);
    float[] begins = floats(outputs.get(0));
    float[] ends = floats(outputs.get(1));
    long[] from = labels.get(0).toLongArray();
    long[] to = labels.get(1).toLongArray();
    int length = Math.toIntExact(outputs.head().getShape().get(1));
    for (int row = 0; row < from.length; row++) {
      long first = Math.max(0, from[row]);
      long last = Math.max(0, to[row]);
      if (first <= last && last < length) {
        int[] span = best(begins, ends, row * length, length);
        long common = Math.min(last, span[1]) - Math.max(first, span[0]) + 1;
        long lengths = last - first + 1 + span[1] - span[0] + 1;
        rows++;
        exact += span[0] == first && span[1] == last ? 1 : 0;
        f1 += 2.0 * Math.max(0, common) / lengths;
      }
    }
  }

  /** From the last begin to the first, with the best end seen on the way. */
  private static int[] best(float[] begins, float[] ends, int offset, int length) {
    int end = length - 1;
    int[] span = {end, end};
    float largest = Float.NEGATIVE_INFINITY;
    for (int begin = length - 1; begin >= 0; begin--) {
      if (ends[offset + begin] >= ends[offset + end]) {
        end = begin;
      }
      float sum = begins[offset + begin] + ends[offset + end];
      if (sum >= largest) {
        largest = sum;
        span[0] = begin;
        span[1] = end;
      }
    }
    return span;
  }

  private static float[] floats(NDArray logits) {
    try (NDArray values = logits.toType(DataType.FLOAT32, true)) {
      return values.toFloatArray();
    }
  }

  private static void check(NDList outputs, NDList labels) {
    boolean fits = outputs.size() > 1 && labels.size() > 1;
    for (int i = 0; fits && i < 2; i++) {
      Shape logits = outputs.get(i).getShape();
      NDArray positions = labels.get(i);
      fits =
          logits.dimension() == 2
              && logits.equals(outputs.head().getShape())
              && positions.getDataType() == DataType.INT64
              && positions.getShape().equals(new Shape(logits.get(0)));
    }
    if (!fits) {
      throw new InvalidConfigException(
          "answers need logits of begin and end, each [rows, length], and their positions, each"
              + " int64 [rows]; given were "
              + Arrays.toString(outputs.getShapes())
              + " and "
              + labels.stream()
                  .map(array -> array.getDataType() + " " + array.getShape())
                  .toList());
    }
  }

  @Override
  public Map<String, Double> result() {
    Map<String, Double> values = new LinkedHashMap<>();
    values.put("exact_match", (double) exact / rows);
    values.put("span_f1", f1 / rows);
    return values;
  }
}
