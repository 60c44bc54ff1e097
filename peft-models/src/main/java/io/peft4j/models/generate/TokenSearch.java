package io.peft4j.models.generate;

import io.peft4j.models.TokenDecoder;
import java.util.List;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;

/** Takes or draws one token after the other, for each row of a batch by itself. */
final class TokenSearch {
  private final TokenDecoder decoder;
  private final Settings settings;
  private final List<TextRow> rows;
  private final ScoreRules rules;
  private final SplittableRandom[] randoms;
  private final @Nullable Candidates candidates;
  private float[] scores = {};

  TokenSearch(TokenDecoder decoder, Settings settings, List<TextRow> rows) {
    this.decoder = decoder;
    this.settings = settings;
    this.rows = rows;
    rules = new ScoreRules(settings, decoder.vocabulary());
    candidates = settings.sample() ? new Candidates(settings, decoder.vocabulary()) : null;
    randoms = new SplittableRandom[settings.sample() ? rows.size() : 0];
    SplittableRandom root =
        settings.seed().isPresent()
            ? new SplittableRandom(settings.seed().getAsLong())
            : new SplittableRandom();
    for (int i = 0; i < randoms.length; i++) {
      randoms[i] = root.split();
    }
  }

  void run() {
    long[] next = new long[rows.size()];
    while (true) {
      choose(next);
      boolean more = false;
      for (int i = 0; i < next.length; i++) {
        TextRow row = rows.get(i);
        if (!row.finished()) {
          row.add(next[i]);
          more |= !row.finished();
        }
      }
      if (!more) {
        return;
      }
      decoder.step(next);
    }
  }

  /** Fills in the next token of each row that has not ended. Of the others any will do. */
  private void choose(long[] next) {
    long[] best = candidates == null && allPlain() ? decoder.best() : null;
    for (int i = 0; i < next.length; i++) {
      TextRow row = rows.get(i);
      if (row.finished()) {
        next[i] = 0;
      } else if (best != null) {
        next[i] = best[i];
      } else {
        next[i] = choose(i, row);
      }
    }
  }

  private boolean allPlain() {
    for (TextRow row : rows) {
      if (!row.finished() && rules.act(row.newTokens())) {
        return false;
      }
    }
    return true;
  }

  private long choose(int number, TextRow row) {
    if (scores.length == 0) {
      scores = new float[decoder.vocabulary()];
    }
    decoder.logits(number, scores);
    rules.apply(scores, row.tokens(), row.count(), row.newTokens());
    if (candidates != null) {
      candidates.take(scores);
      return candidates.draw(randoms[number]);
    }
    int best = 0;
    for (int i = 1; i < scores.length; i++) {
      best = scores[i] > scores[best] ? i : best;
    }
    return best;
  }
}
