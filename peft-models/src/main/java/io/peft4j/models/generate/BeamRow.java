package io.peft4j.models.generate;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The beams of one prompt, by the rules of transformers' {@code _beam_search}: sums and quotients
 * in float32, a very low score instead of minus infinity, and the same order of steps. Other
 * prompts have no influence.
 */
final class BeamRow {
  private static final float LOW = -1e9f;
  private static final Comparator<Beam> BEST_FIRST = (a, b) -> Float.compare(b.score(), a.score());

  private final int prompt;
  private final int vocabulary;
  private final int limit;
  private final Settings settings;
  private final StopStrings stops;
  private final ScoreRules rules;
  private final int count;
  private final TopScores top;
  private List<Beam> running = new ArrayList<>();
  private List<Beam> finished = new ArrayList<>();
  private int newTokens;
  private boolean done;

  BeamRow(
      long[] prompt,
      int context,
      int vocabulary,
      Settings settings,
      StopStrings stops,
      ScoreRules rules) {
    this.prompt = prompt.length;
    this.vocabulary = vocabulary;
    this.settings = settings;
    this.stops = stops;
    this.rules = rules;
    limit = Math.min(settings.maxNewTokens(), context - prompt.length);
    count = settings.beams();
    // So many that enough go on even if the best all end.
    long kept = (long) count * Math.max(2, 1 + settings.endTokens().size());
    top = new TopScores((int) Math.min(kept, (long) count * vocabulary));
    for (int i = 0; i < count; i++) {
      // All are equal at first: only the first beam's continuations count.
      running.add(new Beam(prompt, i == 0 ? 0 : LOW, i, null));
      finished.add(new Beam(prompt, LOW, i, null));
    }
  }

  boolean done() {
    return done;
  }

  /** The beam that a running one continues. */
  int source(int beam) {
    return running.get(beam).source();
  }

  long last(int beam) {
    return running.get(beam).last();
  }

  Beam best() {
    return finished.get(0);
  }

  /**
   * Offers all continuations of a beam.
   *
   * @param logProbabilities of every token; changed
   */
  void consider(int beam, float[] logProbabilities) {
    Beam parent = running.get(beam);
    rules.apply(logProbabilities, parent.tokens(), parent.tokens().length, newTokens);
    for (int token = 0; token < vocabulary; token++) {
      top.offer(logProbabilities[token] + parent.score(), beam * vocabulary + token);
    }
  }

  /** Goes on by one token with the best of what was offered. */
  void advance() {
    newTokens++;
    List<Beam> candidates = new ArrayList<>();
    boolean allEnd = true;
    for (int i = 0; i < top.size(); i++) {
      int beam = top.index(i) / vocabulary;
      Beam candidate = running.get(beam).with(top.index(i) % vocabulary, top.score(i), beam);
      candidates.add(candidate.ended(reason(candidate)));
      allEnd &= candidates.get(i).reason() != null;
    }
    top.clear();
    running =
        best(
            candidates.stream()
                .map(c -> c.reason() == null ? c : c.scored(c.score() + LOW))
                .toList());
    // Only those that were among the best before the length counted can win.
    float divisor = (float) Math.pow(newTokens, settings.lengthPenalty());
    List<Beam> merged = new ArrayList<>(finished);
    for (Beam candidate : candidates.subList(0, Math.min(count, candidates.size()))) {
      if (candidate.reason() != null) {
        merged.add(candidate.scored(candidate.score() / divisor));
      }
    }
    finished = best(merged);
    done = allEnd || !canImprove() || (settings.earlyStopping() == EarlyStopping.FIRST && full());
  }

  private List<Beam> best(List<Beam> beams) {
    return beams.stream().sorted(BEST_FIRST).limit(count).toList();
  }

  private @Nullable FinishReason reason(Beam candidate) {
    if (settings.ends(candidate.last())) {
      return FinishReason.END_TOKEN;
    }
    if (stops.look(candidate.tokens(), prompt + newTokens).stops()) {
      return FinishReason.STOP_STRING;
    }
    if (newTokens >= limit) {
      return newTokens >= settings.maxNewTokens() ? FinishReason.LENGTH : FinishReason.CONTEXT;
    }
    return null;
  }

  private boolean full() {
    return finished.stream().allMatch(beam -> beam.reason() != null);
  }

  /** Whether the best running beam may still become better than the worst finished one. */
  private boolean canImprove() {
    boolean longest =
        settings.earlyStopping() == EarlyStopping.NEVER && settings.lengthPenalty() > 0;
    int length = longest ? Math.min(settings.maxNewTokens(), limit) : newTokens;
    float possible = running.get(0).score() / (float) Math.pow(length, settings.lengthPenalty());
    float worst = full() ? finished.get(count - 1).score() : LOW;
    return possible > worst;
  }
}
