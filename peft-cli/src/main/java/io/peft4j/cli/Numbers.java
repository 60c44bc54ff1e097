package io.peft4j.cli;

import java.util.Locale;

/** Numbers as people write them. */
final class Numbers {
  private Numbers() {}

  /** At most four digits after the point, for example {@code 2} or {@code 2.6667}. */
  static String format(double value) {
    return String.format(Locale.ROOT, "%.4f", value).replaceAll("\\.?0+$", "");
  }
}
