package io.peft4j.cli;

import io.peft4j.InvalidConfigException;
import java.math.BigDecimal;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Numbers of bytes as people write them. */
public final class Sizes {
  private static final Pattern SIZE = Pattern.compile("(\\d+(?:\\.\\d+)?)\\s*([KMGT]?)(I?)B?");
  private static final List<String> UNITS = List.of("KiB", "MiB", "GiB", "TiB");

  private Sizes() {}

  /**
   * Reads a size: {@code 5GB} is 5·10⁹ bytes and {@code 5GiB} 5·2³⁰, as in transformers; a number
   * without a unit is bytes.
   *
   * @param option the option or key, for the message
   * @param text what was given
   * @return bytes
   * @throws InvalidConfigException if it is no size
   */
  public static long parse(String option, String text) {
    Matcher matcher = SIZE.matcher(text.strip().toUpperCase(Locale.ROOT));
    if (matcher.matches()) {
      long base = matcher.group(3).isEmpty() ? 1000 : 1024;
      int power = matcher.group(2).isEmpty() ? 0 : "KMGT".indexOf(matcher.group(2)) + 1;
      BigDecimal bytes =
          new BigDecimal(matcher.group(1)).multiply(BigDecimal.valueOf(base).pow(power));
      if (bytes.compareTo(BigDecimal.ONE) >= 0
          && bytes.compareTo(BigDecimal.valueOf(Long.MAX_VALUE)) < 0) {
        return bytes.longValue();
      }
    }
    throw new InvalidConfigException(
        option
            + " is a size such as 5GB, 500MB or 2GiB, at least one byte; given was '"
            + text
            + "'");
  }

  /**
   * Writes a size.
   *
   * @param bytes number of bytes
   * @return for example {@code 25.1 GiB}
   */
  public static String format(double bytes) {
    if (bytes < 1024) {
      return Math.round(bytes) + " B";
    }
    double value = bytes / 1024;
    int unit = 0;
    while (value >= 1023.95 && unit < UNITS.size() - 1) {
      value /= 1024;
      unit++;
    }
    return String.format(Locale.ROOT, "%.1f %s", value, UNITS.get(unit));
  }
}
