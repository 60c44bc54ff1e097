package io.peft4j.models.generate;

import io.peft4j.models.TokenDecoder;
import java.util.ArrayList;
import java.util.List;

/** Follows several continuations of each prompt at once and gives the best of each. */
final class BeamSearch {
  private final TokenDecoder decoder;
  private final int beams;
  private final List<BeamRow> rows = new ArrayList<>();
  private final float[] scores;

  /**
   * Begins.
   *
   * @param decoder has as many copies of each prompt as there are beams
   * @param prompts the tokens of each prompt
   * @param context how many tokens the model's context holds
   */
  BeamSearch(
      TokenDecoder decoder,
      List<long[]> prompts,
      int context,
      Settings settings,
      StopStrings stops) {
    this.decoder = decoder;
    beams = settings.beams();
    scores = new float[decoder.vocabulary()];
    ScoreRules rules = new ScoreRules(settings, decoder.vocabulary());
    for (long[] prompt : prompts) {
      rows.add(new BeamRow(prompt, context, decoder.vocabulary(), settings, stops, rules));
    }
  }

  /** Runs to the end and gives the best beam of each prompt. */
  List<Beam> run() {
    long[] next = new long[decoder.sequences()];
    int[] from = new int[next.length];
    while (true) {
      boolean more = false;
      for (int i = 0; i < rows.size(); i++) {
        BeamRow row = rows.get(i);
        int first = i * beams;
        if (!row.done()) {
          advance(row, first);
          more |= !row.done();
        }
        for (int beam = 0; beam < beams; beam++) {
          from[first + beam] = first + row.source(beam);
          next[first + beam] = row.last(beam);
        }
      }
      if (!more) {
        return rows.stream().map(BeamRow::best).toList();
      }
      decoder.reorder(from);
      decoder.step(next);
    }
  }

  private void advance(BeamRow row, int first) {
    for (int beam = 0; beam < beams; beam++) {
      decoder.logProbabilities(first + beam, scores);
      row.consider(beam, scores);
    }
    row.advance();
  }
}
