package io.peft4j.models.generate;

/**
 * What changes the scores of next tokens whether they are drawn or not, in the order of
 * transformers: the repetition penalty, then end tokens that are not allowed yet. Used by one
 * thread at a time.
 */
final class ScoreRules {
  private final Settings settings;
  private final float penalty;

  /** The last call in which each token was seen, so that none is penalised twice. */
  private final int[] seen;

  private int calls;

  ScoreRules(Settings settings, int vocabulary) {
    this.settings = settings;
    penalty = (float) settings.repetitionPenalty();
    seen = penalty == 1 ? new int[0] : new int[vocabulary];
  }

  /** Whether anything is changed for a text that has so many new tokens. */
  boolean act(int newTokens) {
    return penalty != 1 || barred(newTokens);
  }

  private boolean barred(int newTokens) {
    return newTokens < settings.minNewTokens() && !settings.endTokens().isEmpty();
  }

  /**
   * Changes the scores.
   *
   * @param scores of every token, changed in place
   * @param tokens prompt and text
   * @param count how many tokens of that array there are
   * @param newTokens how many of them are the text's
   */
  void apply(float[] scores, long[] tokens, int count, int newTokens) {
    if (penalty != 1) {
      calls++;
      for (int i = 0; i < count; i++) {
        int token = (int) tokens[i];
        if (seen[token] != calls) {
          seen[token] = calls;
          float score = scores[token];
          scores[token] = score < 0 ? score * penalty : score / penalty;
        }
      }
    }
    if (barred(newTokens)) {
      for (long end : settings.endTokens()) {
        if (end < scores.length) {
          scores[(int) end] = Float.NEGATIVE_INFINITY;
        }
      }
    }
  }
}
