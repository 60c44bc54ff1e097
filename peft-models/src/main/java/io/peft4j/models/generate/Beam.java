package io.peft4j.models.generate;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * One continuation of a prompt.
 *
 * @param tokens prompt and new tokens; never modified
 * @param score the sum of the logarithms of its probabilities, divided by a power of the length
 *     once it has ended
 * @param source number of the beam that it continues
 * @param reason why it ended; null while it has not
 */
record Beam(long[] tokens, float score, int source, @Nullable FinishReason reason) {

  /** A beam with one token more. */
  Beam with(long token, float newScore, int newSource) {
    long[] more = Arrays.copyOf(tokens, tokens.length + 1);
    more[tokens.length] = token;
    return new Beam(more, newScore, newSource, null);
  }

  Beam scored(float newScore) {
    return new Beam(tokens, newScore, source, reason);
  }

  Beam ended(@Nullable FinishReason why) {
    return new Beam(tokens, score, source, why);
  }

  long last() {
    return tokens[tokens.length - 1];
  }
}
