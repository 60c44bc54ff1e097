package io.peft4j.models.jinja;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.function.IntPredicate;
import org.jspecify.annotations.Nullable;

/** Python's view of a text: characters are code points, and more of them are white space. */
final class Text {
  private Text() {}

  static boolean isSpace(int character) {
    return character >= 9 && character <= 13
        || character >= 28 && character <= 32
        || character == 0x85
        || character == 0xA0
        || character == 0x1680
        || character >= 0x2000 && character <= 0x200A
        || character == 0x2028
        || character == 0x2029
        || character == 0x202F
        || character == 0x205F
        || character == 0x3000;
  }

  private static boolean endsLine(char character) {
    return character >= 10 && character <= 13
        || character >= 28 && character <= 30
        || character == 0x85
        || character == 0x2028
        || character == 0x2029;
  }

  static int length(String text) {
    return text.codePointCount(0, text.length());
  }

  static Iterator<Object> characters(String text) {
    return text.codePoints().mapToObj(point -> (Object) Character.toString(point)).iterator();
  }

  static @Nullable String at(String text, long index) {
    int length = length(text);
    long at = index < 0 ? index + length : index;
    if (at < 0 || at >= length) {
      return null;
    }
    int offset = text.offsetByCodePoints(0, (int) at);
    return Character.toString(text.codePointAt(offset));
  }

  /**
   * Characters from {@code first} until before {@code end}, both within the text or just beside.
   */
  static String slice(String text, long first, long end, long step) {
    if (step > 0 ? first >= end : first <= end) {
      return "";
    }
    if (step == 1) {
      int from = text.offsetByCodePoints(0, (int) first);
      return text.substring(from, text.offsetByCodePoints(from, (int) (end - first)));
    }
    int[] points = text.codePoints().toArray();
    StringBuilder out = new StringBuilder();
    for (long i = first; step > 0 ? i < end : i > end; i += step) {
      out.appendCodePoint(points[(int) i]);
    }
    return out.toString();
  }

  /** Cuts characters off one side or both: white space, or those given. */
  static String strip(String text, @Nullable String characters, boolean left, boolean right) {
    IntPredicate goes =
        characters == null ? Text::isSpace : point -> characters.indexOf(point) >= 0;
    int start = 0;
    int end = text.length();
    while (left && start < end && goes.test(text.codePointAt(start))) {
      start += Character.charCount(text.codePointAt(start));
    }
    while (right && end > start && goes.test(text.codePointBefore(end))) {
      end -= Character.charCount(text.codePointBefore(end));
    }
    return text.substring(start, end);
  }

  /** Splits at white space, or at the separator, from the left or the right. */
  static List<Object> split(String text, @Nullable String separator, long most, boolean right) {
    if (separator != null && separator.isEmpty()) {
      throw new Failure("split: the separator must not be empty");
    }
    long left = most < 0 ? Long.MAX_VALUE : most;
    List<Object> parts = new ArrayList<>();
    if (right) {
      String rest = separator == null ? strip(text, null, false, true) : text;
      while (left-- > 0) {
        int end = separator == null ? lastSpace(rest) : rest.lastIndexOf(separator);
        if (end < 0) {
          break;
        }
        parts.add(rest.substring(end + (separator == null ? 1 : separator.length())));
        rest = rest.substring(0, end);
        rest = separator == null ? strip(rest, null, false, true) : rest;
      }
      if (separator != null || !rest.isEmpty()) {
        parts.add(separator == null ? strip(rest, null, false, true) : rest);
      }
      java.util.Collections.reverse(parts);
      return parts;
    }
    int start = separator == null ? skipSpaces(text, 0) : 0;
    while (left-- > 0) {
      int end = separator == null ? nextSpace(text, start) : text.indexOf(separator, start);
      if (end < 0) {
        break;
      }
      parts.add(text.substring(start, end));
      start = separator == null ? skipSpaces(text, end) : end + separator.length();
    }
    if (separator != null || start < text.length()) {
      parts.add(text.substring(start));
    }
    return parts;
  }

  private static int lastSpace(String text) {
    int at = text.length() - 1;
    while (at >= 0 && !isSpace(text.charAt(at))) {
      at--;
    }
    return at;
  }

  private static int nextSpace(String text, int from) {
    for (int i = from; i < text.length(); i++) {
      if (isSpace(text.charAt(i))) {
        return i;
      }
    }
    return -1;
  }

  private static int skipSpaces(String text, int from) {
    int at = from;
    while (at < text.length() && isSpace(text.charAt(at))) {
      at++;
    }
    return at;
  }

  static List<Object> lines(String text, boolean keepEnds) {
    List<Object> lines = new ArrayList<>();
    int start = 0;
    while (start < text.length()) {
      int end = start;
      while (end < text.length() && !endsLine(text.charAt(end))) {
        end++;
      }
      int next = end + (text.startsWith("\r\n", end) ? 2 : end < text.length() ? 1 : 0);
      lines.add(text.substring(start, keepEnds ? next : end));
      start = next;
    }
    return lines;
  }

  static String upper(String text) {
    return text.toUpperCase(Locale.ROOT);
  }

  static String lower(String text) {
    return text.toLowerCase(Locale.ROOT);
  }

  /** A first letter in title case, the rest in lower case. */
  static String capitalize(String text) {
    if (text.isEmpty()) {
      return text;
    }
    int first = text.codePointAt(0);
    return titleCase(first) + lower(text.substring(Character.charCount(first)));
  }

  private static String titleCase(int character) {
    int title = Character.toTitleCase(character);
    // Characters that become several, such as sharp s, have no title case of their own.
    String upper = upper(Character.toString(character));
    return title == character && upper.length() > 1 && !Character.isTitleCase(character)
        ? upper.charAt(0) + lower(upper.substring(1))
        : Character.toString(title);
  }

  /** A letter after anything but a letter in title case, all others in lower case. */
  static String title(String text) {
    StringBuilder out = new StringBuilder(text.length());
    boolean inside = false;
    for (int i = 0; i < text.length(); ) {
      int point = text.codePointAt(i);
      out.append(inside ? lower(Character.toString(point)) : titleCase(point));
      inside = isCased(point);
      i += Character.charCount(point);
    }
    return out.toString();
  }

  static String swapCase(String text) {
    StringBuilder out = new StringBuilder(text.length());
    text.codePoints()
        .mapToObj(
            point -> {
              String one = Character.toString(point);
              return Character.isUpperCase(point) ? lower(one) : upper(one);
            })
        .forEach(out::append);
    return out.toString();
  }

  static boolean isCased(int character) {
    return Character.isUpperCase(character)
        || Character.isLowerCase(character)
        || Character.isTitleCase(character);
  }

  /** Whether there is a character with case, and all of them are the way the test says. */
  static boolean allCased(String text, IntPredicate test) {
    return text.codePoints().anyMatch(Text::isCased)
        && text.codePoints().filter(Text::isCased).allMatch(test);
  }

  static boolean all(String text, IntPredicate test) {
    return !text.isEmpty() && text.codePoints().allMatch(test);
  }

  /** By code points, unlike {@link String#compareTo}. */
  static int compare(String left, String right) {
    int length = Math.min(left.length(), right.length());
    for (int i = 0; i < length; i++) {
      char a = left.charAt(i);
      char b = right.charAt(i);
      if (a != b) {
        boolean pairs = Character.isSurrogate(a) != Character.isSurrogate(b);
        return pairs ? Boolean.compare(Character.isSurrogate(a), Character.isSurrogate(b)) : a - b;
      }
    }
    return left.length() - right.length();
  }
}
