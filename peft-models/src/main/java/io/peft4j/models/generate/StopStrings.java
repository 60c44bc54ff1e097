package io.peft4j.models.generate;

import io.peft4j.models.Tokenizer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;

/**
 * Finds strings that end a text, by the rule of transformers: in the text of prompt and new tokens,
 * special ones included, one must overlap the last token, which may go on after it.
 */
final class StopStrings {
  /** Tokens without text, such as the first part of a character, may lie between. */
  private static final int SPARE_TOKENS = 8;

  private final List<String> stops;
  private final Tokenizer tokenizer;
  private final int window;

  StopStrings(List<String> stops, Tokenizer tokenizer) {
    this.stops = stops;
    this.tokenizer = tokenizer;
    window =
        SPARE_TOKENS
            + stops.stream()
                .mapToInt(stop -> stop.getBytes(StandardCharsets.UTF_8).length)
                .max()
                .orElse(0);
  }

  boolean none() {
    return stops.isEmpty();
  }

  /**
   * The end of a text.
   *
   * @param found the stop string that is there; empty if none is
   * @param text from its first character to the end, or if none is there, the longest end of the
   *     text that one may begin with
   */
  record End(String found, String text) {
    static final End NOTHING = new End("", "");

    boolean stops() {
      return !found.isEmpty();
    }

    /** How much of a text without special tokens comes before the stop string. */
    int cut(String clean) {
      if (clean.endsWith(text)) {
        return clean.length() - text.length();
      }
      if (text.endsWith(clean)) {
        return 0;
      }
      // The stop string has a special token in it: what comes before that goes too.
      return clean.length() - beginning(clean, found);
    }
  }

  /**
   * Looks at the end of a text.
   *
   * @param tokens prompt and new tokens
   * @param count how many of that array there are
   */
  End look(long[] tokens, int count) {
    if (stops.isEmpty()) {
      return End.NOTHING;
    }
    int from = Math.max(0, count - window);
    String text = tokenizer.decode(Arrays.copyOfRange(tokens, from, count), false);
    int before =
        complete(tokenizer.decode(Arrays.copyOfRange(tokens, from, count - 1), false)).length();
    int first = text.length();
    String found = "";
    for (String stop : stops) {
      int at = text.indexOf(stop, Math.max(0, before - stop.length() + 1));
      if (at >= 0 && at < first) {
        first = at;
        found = stop;
      }
    }
    if (!found.isEmpty()) {
      return new End(found, text.substring(first));
    }
    String whole = complete(text);
    int held = 0;
    for (String stop : stops) {
      held = Math.max(held, beginning(whole, stop));
    }
    return new End("", whole.substring(whole.length() - held));
  }

  private static String complete(String text) {
    int end = text.length();
    while (end > 0 && text.charAt(end - 1) == PartialText.INCOMPLETE) {
      end--;
    }
    return text.substring(0, end);
  }

  /** The length of the longest end of a text that a stop string, longer than it, begins with. */
  private static int beginning(String text, String stop) {
    for (int length = Math.min(stop.length() - 1, text.length()); length > 0; length--) {
      if (text.regionMatches(text.length() - length, stop, 0, length)) {
        return length;
      }
    }
    return 0;
  }
}
