package io.peft4j.models.generate;

import io.peft4j.PeftException;
import java.util.Arrays;
import java.util.SplittableRandom;

/**
 * The tokens that one is drawn from: scores divided by the temperature, then what top-k, top-p and
 * min-p leave, in that order, as in transformers. The vocabulary is never sorted whole: top-k keeps
 * a heap of k, and top-p sorts what is too probable to be in the tail that it cuts off. Used by one
 * thread at a time.
 */
final class Candidates {
  private final Settings settings;
  private final int[] tokens;
  private final float[] scores;

  /** exp(score - highest). */
  private final double[] weights;

  private int count;
  private double total;

  Candidates(Settings settings, int vocabulary) {
    this.settings = settings;
    tokens = new int[vocabulary];
    scores = new float[vocabulary];
    weights = new double[vocabulary];
  }

  /** Takes the scores of every token and leaves out what is not to be drawn. */
  void take(float[] all) {
    float temperature = (float) settings.temperature();
    if (temperature != 1) {
      for (int i = 0; i < all.length; i++) {
        all[i] /= temperature;
      }
    }
    int k = settings.topK();
    float least = k > 0 && k < all.length ? nthHighest(all, k) : Float.NEGATIVE_INFINITY;
    count = 0;
    for (int i = 0; i < all.length; i++) {
      if (all[i] >= least) {
        tokens[count] = i;
        scores[count++] = all[i];
      }
    }
    weigh();
    if (settings.topP() < 1) {
      keepTop(settings.topP());
    }
    if (settings.minP().isPresent()) {
      keepIf(settings.minP().getAsDouble());
    }
  }

  /** The n-th highest of some values, by a heap of the n highest so far, the lowest on top. */
  private float nthHighest(float[] values, int n) {
    float[] heap = scores;
    System.arraycopy(values, 0, heap, 0, n);
    for (int i = n / 2 - 1; i >= 0; i--) {
      sink(heap, i, n);
    }
    for (int i = n; i < values.length; i++) {
      if (values[i] > heap[0]) {
        heap[0] = values[i];
        sink(heap, 0, n);
      }
    }
    return heap[0];
  }

  private static void sink(float[] heap, int start, int size) {
    float value = heap[start];
    int place = start;
    while (2 * place + 1 < size) {
      int child = 2 * place + 1;
      if (child + 1 < size && heap[child + 1] < heap[child]) {
        child++;
      }
      if (heap[child] >= value) {
        break;
      }
      heap[place] = heap[child];
      place = child;
    }
    heap[place] = value;
  }

  private void weigh() {
    float highest = Float.NEGATIVE_INFINITY;
    for (int i = 0; i < count; i++) {
      highest = Math.max(highest, scores[i]);
    }
    total = 0;
    for (int i = 0; i < count; i++) {
      weights[i] = Math.exp((double) scores[i] - highest);
      total += weights[i];
    }
    if (!(total > 0)) {
      throw new PeftException("the model's logits hold NaN or infinity: no token can be drawn");
    }
  }

  /** Keeps the most probable tokens, as long as those before have less than a probability. */
  private void keepTop(double probability) {
    double enough = probability * total;
    // All that are less probable than this are not enough together to reach into what is kept.
    keepIf((1 - probability) * total / count);
    long[] order = new long[count];
    for (int i = 0; i < count; i++) {
      // Weights are not negative, so that their bits sort as they do; highest first.
      order[i] = ~(long) Float.floatToRawIntBits((float) weights[i]) << 32 | i;
    }
    Arrays.sort(order);
    double before = 0;
    boolean[] kept = new boolean[count];
    for (long entry : order) {
      int i = (int) entry;
      kept[i] = true;
      before += weights[i];
      if (before >= enough) {
        break;
      }
    }
    int left = 0;
    for (int i = 0; i < count; i++) {
      if (kept[i]) {
        move(i, left++);
      }
    }
    cutTo(left);
  }

  /** Keeps tokens of at least a weight; the most probable has 1. */
  private void keepIf(double least) {
    int left = 0;
    for (int i = 0; i < count; i++) {
      if (weights[i] >= least) {
        move(i, left++);
      }
    }
    cutTo(left);
  }

  private void move(int from, int to) {
    tokens[to] = tokens[from];
    scores[to] = scores[from];
    weights[to] = weights[from];
  }

  private void cutTo(int left) {
    count = left;
    total = 0;
    for (int i = 0; i < left; i++) {
      total += weights[i];
    }
  }

  /** Draws one. */
  int draw(SplittableRandom random) {
    double rest = random.nextDouble() * total;
    int chosen = -1;
    for (int i = 0; i < count; i++) {
      if (weights[i] > 0) {
        chosen = i;
        rest -= weights[i];
        if (rest < 0) {
          break;
        }
      }
    }
    return tokens[chosen];
  }

  /** The probability of each token of the vocabulary. */
  double[] probabilities() {
    double[] probabilities = new double[tokens.length];
    for (int i = 0; i < count; i++) {
      probabilities[tokens[i]] = weights[i] / total;
    }
    return probabilities;
  }
}
