package io.peft4j.models.jinja;

import java.time.DayOfWeek;
import java.time.LocalDateTime;
import java.time.format.TextStyle;
import java.time.temporal.ChronoField;
import java.time.temporal.IsoFields;
import java.util.Locale;

/** C's {@code strftime} in the C locale, for a time without a zone. */
final class DateFormat {
  private DateFormat() {}

  static String format(Engine engine, String format, LocalDateTime time) {
    StringBuilder out = new StringBuilder();
    for (int i = 0; i < format.length(); i++) {
      char c = format.charAt(i);
      if (c != '%' || i + 1 == format.length()) {
        out.append(c);
        continue;
      }
      char directive = format.charAt(++i);
      boolean bare = directive == '-' && i + 1 < format.length();
      if (bare) {
        directive = format.charAt(++i);
      }
      String text = field(engine, directive, time);
      out.append(bare ? unpadded(text) : text);
    }
    return engine.made(out.toString());
  }

  private static String unpadded(String text) {
    int start = 0;
    while (start < text.length() - 1 && (text.charAt(start) == '0' || text.charAt(start) == ' ')) {
      start++;
    }
    return text.substring(start);
  }

  private static String two(int number) {
    return String.format("%02d", number);
  }

  private static String field(Engine engine, char directive, LocalDateTime time) {
    DayOfWeek day = time.getDayOfWeek();
    int hour = time.getHour();
    return switch (directive) {
      case 'a' -> day.getDisplayName(TextStyle.SHORT, Locale.ENGLISH);
      case 'A' -> day.getDisplayName(TextStyle.FULL, Locale.ENGLISH);
      case 'b', 'h' -> time.getMonth().getDisplayName(TextStyle.SHORT, Locale.ENGLISH);
      case 'B' -> time.getMonth().getDisplayName(TextStyle.FULL, Locale.ENGLISH);
      case 'c' -> format(engine, "%a %b %e %H:%M:%S %Y", time);
      case 'C' -> two(time.getYear() / 100);
      case 'd' -> two(time.getDayOfMonth());
      case 'D', 'x' -> format(engine, "%m/%d/%y", time);
      case 'e' -> String.format("%2d", time.getDayOfMonth());
      case 'f' -> String.format("%06d", time.getNano() / 1000);
      case 'F' -> format(engine, "%Y-%m-%d", time);
      case 'G' -> Integer.toString(time.get(IsoFields.WEEK_BASED_YEAR));
      case 'H' -> two(hour);
      case 'I' -> two((hour + 11) % 12 + 1);
      case 'j' -> String.format("%03d", time.getDayOfYear());
      case 'm' -> two(time.getMonthValue());
      case 'M' -> two(time.getMinute());
      case 'n' -> "\n";
      case 'p' -> hour < 12 ? "AM" : "PM";
      case 'r' -> format(engine, "%I:%M:%S %p", time);
      case 'R' -> format(engine, "%H:%M", time);
      case 'S' -> two(time.getSecond());
      case 't' -> "\t";
      case 'T', 'X' -> format(engine, "%H:%M:%S", time);
      case 'u' -> Integer.toString(day.getValue());
      case 'U' -> two((time.getDayOfYear() + 6 - day.getValue() % 7) / 7);
      case 'V' -> two(time.get(IsoFields.WEEK_OF_WEEK_BASED_YEAR));
      case 'w' -> Integer.toString(day.getValue() % 7);
      case 'W' -> two((time.getDayOfYear() + 6 - (time.get(ChronoField.DAY_OF_WEEK) - 1)) / 7);
      case 'y' -> two(time.getYear() % 100);
      case 'Y' -> Integer.toString(time.getYear());
      // There is no zone to name.
      case 'z', 'Z' -> "";
      case '%' -> "%";
      default -> throw new Failure("strftime_now: '%" + directive + "' is not supported");
    };
  }
}
