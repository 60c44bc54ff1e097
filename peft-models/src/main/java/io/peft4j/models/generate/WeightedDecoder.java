package io.peft4j.models.generate;

import io.peft4j.models.TokenDecoder;
import java.util.List;

/**
 * A decoder whose prompts are each read by several rows of another, and whose logits are the
 * weighted sums of theirs. Closes the other.
 */
final class WeightedDecoder implements TokenDecoder {
  private final TokenDecoder rows;
  private final List<float[]> weights;
  private final int copies;

  /** The first row of each prompt. */
  private final int[] first;

  private final float[] part;

  WeightedDecoder(TokenDecoder rows, List<float[]> weights, int copies) {
    this.rows = rows;
    this.weights = weights;
    this.copies = copies;
    first = new int[weights.size()];
    for (int i = 1; i < first.length; i++) {
      first[i] = first[i - 1] + weights.get(i - 1).length;
    }
    part = new float[rows.vocabulary()];
  }

  @Override
  public int vocabulary() {
    return rows.vocabulary();
  }

  @Override
  public int sequences() {
    return weights.size() * copies;
  }

  /** The other decoder's sequence of one expert. */
  private int inner(int sequence, int expert) {
    return (first[sequence / copies] + expert) * copies + sequence % copies;
  }

  @Override
  public long[] best() {
    long[] best = new long[sequences()];
    float[] logits = new float[vocabulary()];
    for (int i = 0; i < best.length; i++) {
      logits(i, logits);
      int found = 0;
      for (int token = 1; token < logits.length; token++) {
        found = logits[token] > logits[found] ? token : found;
      }
      best[i] = found;
    }
    return best;
  }

  @Override
  public void logits(int sequence, float[] target) {
    float[] own = weights.get(sequence / copies);
    for (int expert = 0; expert < own.length; expert++) {
      rows.logits(inner(sequence, expert), part);
      for (int token = 0; token < part.length; token++) {
        float before = expert == 0 ? 0 : target[token];
        target[token] = before + own[expert] * part[token];
      }
    }
  }

  @Override
  public void logProbabilities(int sequence, float[] target) {
    logits(sequence, target);
    float greatest = Float.NEGATIVE_INFINITY;
    for (float logit : target) {
      greatest = Math.max(greatest, logit);
    }
    double sum = 0;
    for (float logit : target) {
      sum += Math.exp(logit - greatest);
    }
    float shift = (float) (greatest + Math.log(sum));
    for (int token = 0; token < target.length; token++) {
      target[token] -= shift;
    }
  }

  @Override
  public void step(long[] tokens) {
    long[] all = new long[rows.sequences()];
    for (int i = 0; i < tokens.length; i++) {
      for (int expert = 0; expert < weights.get(i / copies).length; expert++) {
        all[inner(i, expert)] = tokens[i];
      }
    }
    rows.step(all);
  }

  @Override
  public void reorder(int[] from) {
    int[] all = new int[rows.sequences()];
    for (int i = 0; i < from.length; i++) {
      for (int expert = 0; expert < weights.get(i / copies).length; expert++) {
        all[inner(i, expert)] = inner(from[i], expert);
      }
    }
    rows.reorder(all);
  }

  @Override
  public void close() {
    rows.close();
  }
}
