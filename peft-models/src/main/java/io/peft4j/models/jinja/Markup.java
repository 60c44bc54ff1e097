package io.peft4j.models.jinja;

/**
 * A text that {@code safe} or {@code escape} has marked: what {@code +} puts beside it is escaped.
 * The mark lasts through variables and the filters that keep it in jinja2; in lists, in arguments
 * and in methods it is a plain text.
 */
record Markup(String text) {
  static String escape(String text) {
    return text.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("\"", "&#34;")
        .replace("'", "&#39;");
  }

  /** The value without its mark, if it has one. */
  static Object plain(Object value) {
    return value instanceof Markup markup ? markup.text() : value;
  }
}
