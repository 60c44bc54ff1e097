package io.peft4j.models.generate;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** What was generated after one prompt. Immutable. */
public final class GenerationResult {
  private final long[] tokens;
  private final String text;
  private final FinishReason reason;

  GenerationResult(long[] tokens, String text, FinishReason reason) {
    this.tokens = tokens.clone();
    this.text = text;
    this.reason = reason;
  }

  /**
   * The new tokens, without the prompt: all that transformers gives but padding, an end token and
   * the tokens of a stop string included.
   *
   * @return a copy
   */
  public long[] tokens() {
    return tokens.clone();
  }

  /**
   * The new text, without the prompt, special tokens, and a stop string that ended it.
   *
   * @return the text
   */
  public String text() {
    return text;
  }

  /**
   * Why it ends.
   *
   * @return the reason
   */
  public FinishReason reason() {
    return reason;
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof GenerationResult result
        && Arrays.equals(tokens, result.tokens)
        && text.equals(result.text)
        && reason == result.reason;
  }

  @Override
  public int hashCode() {
    return 31 * (31 * Arrays.hashCode(tokens) + text.hashCode()) + reason.hashCode();
  }

  @Override
  public String toString() {
    return reason + " after " + tokens.length + " tokens: " + text;
  }
}
