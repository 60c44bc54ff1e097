package io.peft4j.models.gguf;

/** Names and texts of files in error messages. */
final class Quotes {
  private Quotes() {}

  /** A text of the file for an error message: bounded, on one line. */
  static String quote(String text) {
    StringBuilder quoted = new StringBuilder("'");
    int shown = Math.min(text.length(), 80);
    for (int i = 0; i < shown; i++) {
      char c = text.charAt(i);
      quoted.append(Character.isISOControl(c) ? ' ' : c);
    }
    return quoted.append(text.length() > shown ? "...'" : "'").toString();
  }
}
