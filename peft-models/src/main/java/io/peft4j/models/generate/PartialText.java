package io.peft4j.models.generate;

import io.peft4j.models.Tokenizer;
import java.util.Arrays;

/**
 * The text of tokens that come one by one. Each is decoded together with the few before it that
 * have an influence on it, and text whose last character is not complete waits for the next token.
 */
final class PartialText {
  /** What stands for bytes that are no character, or not yet. */
  static final char INCOMPLETE = '\uFFFD';

  private final Tokenizer tokenizer;
  private final StringBuilder certain = new StringBuilder();

  /** Tokens before this no longer matter. */
  private int begin;

  /** The text of tokens before this is certain. */
  private int known;

  private String waiting = "";

  PartialText(Tokenizer tokenizer) {
    this.tokenizer = tokenizer;
  }

  /**
   * Takes one more token.
   *
   * @param tokens an array that holds all tokens
   * @param offset index of the first
   * @param count how many there are now
   */
  void add(long[] tokens, int offset, int count) {
    String before = decode(tokens, offset + begin, offset + known);
    String now = decode(tokens, offset + begin, offset + count);
    // A token without text changes nothing: those before it stay what the next is decoded with.
    waiting = now.length() > before.length() ? now.substring(before.length()) : "";
    if (!waiting.isEmpty() && waiting.charAt(waiting.length() - 1) != INCOMPLETE) {
      certain.append(waiting);
      waiting = "";
      begin = known;
      known = count;
    }
  }

  private String decode(long[] tokens, int from, int to) {
    return from == to ? "" : tokenizer.decode(Arrays.copyOfRange(tokens, from, to), true);
  }

  /** The text that no later token changes. */
  CharSequence certain() {
    return certain;
  }

  /** All text, with what is not complete as it would be if nothing came any more. */
  String all() {
    return certain + waiting;
  }
}
