package io.peft4j.target;

import io.peft4j.InvalidConfigException;
import java.util.HashMap;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/**
 * Translates a regular expression of Python's {@code re} module, which configurations are written
 * in, to Java's. What Python has and Java has not is refused; so is what only Java has, since a
 * file with it would not load in Python.
 */
final class PythonRegex {
  // Python's dot and dollar know one line terminator, and its classes (\d, \w) are Unicode's.
  private static final int FLAGS = Pattern.UNIX_LINES | Pattern.UNICODE_CHARACTER_CLASS;

  private final String source;
  private final StringBuilder out = new StringBuilder();
  private final Map<String, String> names = new HashMap<>();
  private int groups;
  private int at;
  private boolean started;
  private Before before = Before.NOTHING;

  /** What stands before the current position, for a quantifier to repeat. */
  private enum Before {
    NOTHING,
    ITEM,
    REPEATED
  }

  private PythonRegex(String source) {
    this.source = source;
  }

  /**
   * Compiles an expression.
   *
   * @param field the configuration's field, for the message
   * @param given what the user wrote, for the message
   * @param expression the whole expression in Python's syntax
   * @return the same in Java; the caller chooses between {@code matches} (Python's fullmatch) and
   *     {@code lookingAt} (Python's match)
   * @throws InvalidConfigException if the expression is not valid
   */
  static Pattern compile(String field, String given, String expression) {
    PythonRegex translation = new PythonRegex(expression);
    try {
      return Pattern.compile(translation.translate(), FLAGS);
    } catch (PatternSyntaxException e) {
      String hint =
          given.startsWith("*") ? " For any characters write .* rather than * alone." : "";
      throw new InvalidConfigException(
          field
              + " '"
              + given
              + "' is not a valid regular expression (in Python's syntax): "
              + e.getDescription()
              + "."
              + hint);
    }
  }

  private String translate() {
    while (at < source.length()) {
      char c = source.charAt(at);
      switch (c) {
        case '\\' -> escape(false);
        case '[' -> characterClass();
        case '(' -> group();
        case ')' -> add(1, ")", Before.ITEM);
        case '|', '^', '$' -> add(1, String.valueOf(c), Before.NOTHING);
        case '*', '+', '?' -> quantifier(1, String.valueOf(c));
        case '{' -> brace();
        case '}' -> add(1, "\\}", Before.ITEM);
        default -> add(1, String.valueOf(c), Before.ITEM);
      }
    }
    return out.toString();
  }

  private void add(int length, String text, Before item) {
    replace(length, text);
    before = item;
    started = true;
  }

  private void quantifier(int length, String text) {
    if (before != Before.ITEM) {
      throw error(
          (before == Before.NOTHING ? "nothing that " : "something already repeated that ")
              + source.substring(at, at + length)
              + " could repeat stands before it");
    }
    add(length, text, Before.REPEATED);
    if (peek('?') || peek('+')) { // takes as little as it can, or gives nothing back
      copy(1);
    }
  }

  private void characterClass() {
    int start = at;
    add(1, "[", Before.ITEM);
    if (peek('^')) {
      out.append('^');
      at++;
    }
    boolean first = true;
    while (true) {
      if (at >= source.length()) {
        throw error("the [ at position " + start + " is not closed");
      }
      char c = source.charAt(at);
      if (c == ']' && !first) {
        break;
      }
      first = false;
      if (c == '\\') {
        escape(true);
        continue;
      }
      // Java reads these as nested classes and intersections.
      if (c == '[' || c == ']' || c == '&' || c == '^') {
        out.append('\\');
      }
      out.append(c);
      at++;
    }
    out.append(']');
    at++;
  }

  private void escape(boolean inClass) {
    if (at + 1 >= source.length()) {
      throw error("it ends with a single backslash");
    }
    char c = source.charAt(at + 1);
    started = true;
    before = !inClass && "AZzbB".indexOf(c) >= 0 ? Before.NOTHING : Before.ITEM;
    switch (c) {
      case 'd', 'D', 's', 'S', 'w', 'W', 'f', 'n', 'r', 't' -> copy(2);
      case 'a' -> replace(2, "\\x07");
      case 'v' -> replace(2, "\\x0B");
      case 'x' -> hex(2);
      case 'u' -> hex(4);
      case 'U' -> hex(8);
      case 'A', 'B', 'Z', 'z' -> {
        if (inClass) {
          throw error("\\" + c + " has no meaning inside [ ]");
        }
        // Java's \Z would pass over a last line break; Python's does not.
        replace(2, c == 'Z' ? "\\z" : "\\" + c);
      }
      case 'b' -> replace(2, inClass ? "\\x08" : "\\b");
      default -> {
        if (isDigit(c)) {
          number(inClass);
        } else if (isLetter(c)) {
          throw error("\\" + c + " has no meaning");
        } else if (c < 0x80) {
          copy(2);
        } else {
          replace(2, String.valueOf(c));
        }
      }
    }
  }

  private void hex(int digits) {
    int start = at + 2;
    int end = start + digits;
    String text = source.substring(start, Math.min(end, source.length()));
    if (!text.matches("[0-9a-fA-F]{" + digits + "}") || Long.parseLong(text, 16) > 0x10FFFF) {
      throw error("\\" + source.charAt(at + 1) + " needs " + digits + " hexadecimal digits");
    }
    replace(2 + digits, "\\x{" + text + "}");
  }

  private void number(boolean inClass) {
    int end = at + 1;
    while (end < source.length() && end < at + 4 && isDigit(source.charAt(end))) {
      end++;
    }
    String digits = source.substring(at + 1, end);
    boolean octal = digits.startsWith("0") || inClass || digits.matches("[0-3][0-7]{2}");
    if (octal) {
      int length = 0;
      while (length < digits.length()
          && digits.charAt(length) >= '0'
          && digits.charAt(length) < '8') {
        length++;
      }
      if (length == 0) {
        throw error("\\" + digits + " has no meaning inside [ ]");
      }
      int value = Integer.parseInt(digits.substring(0, length), 8);
      replace(1 + length, "\\x{" + Integer.toHexString(value) + "}");
      return;
    }
    String reference = digits.length() > 2 ? digits.substring(0, 2) : digits;
    if (Integer.parseInt(reference) > groups) {
      throw error("\\" + reference + " refers to a group that is not there");
    }
    // The empty group keeps Java from reading a following digit as part of the number.
    replace(1 + reference.length(), "\\" + reference + "(?:)");
  }

  private void group() {
    if (!source.startsWith("(?", at)) {
      groups++;
      add(1, "(", Before.NOTHING);
      return;
    }
    String rest = source.substring(at + 2);
    if (rest.startsWith("P<")) {
      String name = name(rest, 2, '>');
      groups++;
      // Java allows no underscore in a name.
      if (names.put(name, "g" + groups) != null) {
        throw error("two groups are named " + name);
      }
      add(5 + name.length(), "(?<g" + groups + ">", Before.NOTHING);
    } else if (rest.startsWith("P=")) {
      String name = name(rest, 2, ')');
      String known = names.get(name);
      if (known == null) {
        throw error("no group before (?P=" + name + ") has that name");
      }
      add(5 + name.length(), "\\k<" + known + ">", Before.ITEM);
    } else if (rest.startsWith("#")) {
      int end = rest.indexOf(')');
      if (end < 0) {
        throw error("a comment (?# is not closed");
      }
      at += 3 + end;
    } else if (rest.startsWith("<=") || rest.startsWith("<!")) {
      add(4, source.substring(at, at + 4), Before.NOTHING);
    } else if (!rest.isEmpty() && ":=!>".indexOf(rest.charAt(0)) >= 0) {
      add(3, source.substring(at, at + 3), Before.NOTHING);
    } else if (rest.startsWith("<")) {
      throw error("a named group is written (?P<name>...)");
    } else if (rest.startsWith("(")) {
      throw error("conditions, (?(group)...), are not supported");
    } else {
      flags(rest);
    }
  }

  private void flags(String rest) {
    int end = 0;
    StringBuilder on = new StringBuilder();
    StringBuilder off = new StringBuilder();
    boolean minus = false;
    while (end < rest.length() && rest.charAt(end) != ')' && rest.charAt(end) != ':') {
      char c = rest.charAt(end++);
      switch (c) {
        case 'i', 'm', 's' -> (minus ? off : on).append(c);
        case 'a' -> off.append('U'); // Java's name for Unicode's classes
        case 'u' -> on.append('U');
        case '-' -> minus = true;
        default -> throw error("(?" + c + " is not supported");
      }
    }
    if (end == rest.length()) {
      throw error("a group (? is not closed");
    }
    String flags = "(?" + on + (off.length() > 0 ? "-" + off : "");
    if (rest.charAt(end) == ':') {
      add(3 + end, flags + ":", Before.NOTHING);
    } else if (started || minus) {
      throw error("flags for the whole expression, such as (?i), must stand at its start");
    } else {
      replace(3 + end, flags + ")");
    }
  }

  private String name(String rest, int from, char close) {
    int end = rest.indexOf(close, from);
    String name = end < 0 ? "" : rest.substring(from, end);
    if (!name.matches("[\\p{L}_][\\p{L}\\p{N}_]*")) {
      throw error("the name of a group must be letters, digits and _");
    }
    return name;
  }

  private void brace() {
    int end = source.indexOf('}', at);
    String inside = end < 0 ? "" : source.substring(at + 1, end);
    if (!inside.isEmpty() && inside.matches("[0-9]*,?[0-9]*")) {
      // Python's {,3} is Java's {0,3}.
      String text = "{" + (inside.startsWith(",") ? "0" : "") + inside + "}";
      quantifier(inside.length() + 2, text);
    } else {
      add(1, "\\{", Before.ITEM);
    }
  }

  private boolean peek(char c) {
    return at < source.length() && source.charAt(at) == c;
  }

  private void copy(int length) {
    out.append(source, at, at + length);
    at += length;
  }

  private void replace(int length, String text) {
    out.append(text);
    at += length;
  }

  private PatternSyntaxException error(String why) {
    return new PatternSyntaxException(why, source, at);
  }

  private static boolean isDigit(char c) {
    return c >= '0' && c <= '9';
  }

  private static boolean isLetter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  }
}
