package io.peft4j.models.jinja;

/**
 * What one rendering may cost. Time and memory are both bounded by steps: a step is a node
 * evaluated, an element looked at, or {@value #CHARACTERS_PER_STEP} characters read or made.
 */
final class Budget {
  static final long MAX_STEPS = 10_000_000;
  static final int MAX_TEXT = 16_000_000;
  static final int MAX_DEPTH = 500;
  static final int CHARACTERS_PER_STEP = 16;

  private long left = MAX_STEPS;
  private int depth;

  void spend(long steps) {
    left -= steps;
    if (left < 0) {
      throw new Failure("rendering takes more than " + MAX_STEPS + " steps; does it end at all?");
    }
  }

  /** Pays for reading or making a text. */
  String text(String text) {
    characters(text.length());
    return text;
  }

  /** Pays for characters before they are made. */
  void characters(long count) {
    if (count > MAX_TEXT) {
      throw new Failure(
          "a text of " + count + " characters is too long; at most " + MAX_TEXT + " are allowed");
    }
    spend(count / CHARACTERS_PER_STEP);
  }

  /** Pays for elements before a list of them is made. */
  void elements(long count) {
    spend(count);
  }

  void enter() {
    if (++depth > MAX_DEPTH) {
      throw new Failure("nests deeper than " + MAX_DEPTH + " levels; does a macro call itself?");
    }
  }

  void leave() {
    depth--;
  }
}
