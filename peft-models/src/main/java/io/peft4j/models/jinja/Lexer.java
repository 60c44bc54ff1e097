package io.peft4j.models.jinja;

import io.peft4j.models.jinja.Token.Kind;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/**
 * Cuts a template into tokens.
 *
 * <p>White space goes as jinja2 has it with {@code trim_blocks} and {@code lstrip_blocks}: the
 * newline after a block or comment, and the blanks before one that begins its line; {@code -} takes
 * all white space on its side, {@code +} keeps it. One newline at the very end goes as well.
 */
final class Lexer {
  private static final List<String> OPERATORS =
      List.of(
          "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{",
          "}", ">", "<", "=", ".", ":", "|", ",", ";");

  private final String source;
  private final List<Token> tokens = new ArrayList<>();
  private int position;
  private int line = 1;
  private boolean lineStarts = true;

  private Lexer(String source) {
    String text = source.replace("\r\n", "\n").replace('\r', '\n');
    this.source = text.endsWith("\n") ? text.substring(0, text.length() - 1) : text;
  }

  static List<Token> tokens(String source) {
    Lexer lexer = new Lexer(source);
    lexer.run();
    return lexer.tokens;
  }

  private void run() {
    while (position < source.length()) {
      int tag = nextTag();
      if (tag < 0) {
        data(source.substring(position));
        advance(source.length());
        break;
      }
      char kind = source.charAt(tag + 1);
      int inside = tag + 2;
      char sign = at(inside);
      if (sign == '-' || sign == '+') {
        inside++;
      }
      int raw = kind == '%' ? rawBegin(inside) : -1;
      data(before(position, tag, sign, kind == '{'));
      advance(raw < 0 ? inside : raw);
      if (raw >= 0) {
        raw();
      } else if (kind == '#') {
        comment();
      } else {
        tag(kind == '{');
      }
    }
    tokens.add(new Token(line, Kind.END, ""));
  }

  private int nextTag() {
    for (int i = position; i + 1 < source.length(); i++) {
      if (source.charAt(i) == '{' && "{%#".indexOf(source.charAt(i + 1)) >= 0) {
        return i;
      }
    }
    return -1;
  }

  private char at(int index) {
    return index < source.length() ? source.charAt(index) : 0;
  }

  private void data(String text) {
    if (!text.isEmpty()) {
      tokens.add(new Token(line, Kind.DATA, text));
    }
  }

  /** Moves on; what was passed counts for lines. */
  private void advance(int end) {
    for (int i = position; i < end; i++) {
      line += source.charAt(i) == '\n' ? 1 : 0;
    }
    lineStarts = end > position ? source.charAt(end - 1) == '\n' : lineStarts;
    position = end;
  }

  /** The text before a tag, with the white space taken off that the tag takes. */
  private String before(int start, int tag, char sign, boolean print) {
    String text = source.substring(start, tag);
    if (sign == '-') {
      return Text.strip(text, null, false, true);
    }
    if (sign == '+' || print) {
      return text;
    }
    int lineStart = text.lastIndexOf('\n') + 1;
    boolean blank = Text.strip(text.substring(lineStart), null, true, false).isEmpty();
    return blank && (lineStart > 0 || lineStarts) ? text.substring(0, lineStart) : text;
  }

  private int skipSpaces(int from) {
    int at = from;
    while (at < source.length() && Text.isSpace(source.charAt(at))) {
      at++;
    }
    return at;
  }

  /** Where the content of a raw block begins if this block is one, else -1. */
  private int rawBegin(int inside) {
    int at = skipSpaces(inside);
    if (!source.startsWith("raw", at)) {
      return -1;
    }
    at = skipSpaces(at + 3);
    if (source.startsWith("-%}", at)) {
      return skipSpaces(at + 3);
    }
    return source.startsWith("%}", at) ? at + 2 : -1;
  }

  private void raw() {
    for (int i = source.indexOf("{%", position); i >= 0; i = source.indexOf("{%", i + 1)) {
      int inside = i + 2;
      char sign = at(inside);
      int at = skipSpaces(sign == '-' || sign == '+' ? inside + 1 : inside);
      if (source.startsWith("endraw", at)) {
        int end = closing(skipSpaces(at + 6), "%}");
        if (end >= 0) {
          data(before(position, i, sign, false));
          advance(end);
          return;
        }
      }
    }
    throw new SyntaxFailure(line, "expected '{% endraw %}' after this '{% raw %}'");
  }

  private void comment() {
    for (int i = position; i < source.length(); i++) {
      int end = closing(i, "#}");
      if (end >= 0) {
        advance(end);
        return;
      }
    }
    throw new SyntaxFailure(line, "expected '#}' after this '{#'");
  }

  /** The place after the end mark that stands here, and after the white space it takes; or -1. */
  private int closing(int at, String mark) {
    if (source.startsWith(mark, at)) {
      return at + 2 + (at(at + 2) == '\n' ? 1 : 0);
    }
    if (!source.startsWith(mark, at + 1)) {
      return -1;
    }
    return at(at) == '-' ? skipSpaces(at + 3) : at(at) == '+' ? at + 3 : -1;
  }

  private void tag(boolean print) {
    tokens.add(new Token(line, print ? Kind.PRINT_BEGIN : Kind.BLOCK_BEGIN, ""));
    int opened = line;
    Deque<Character> open = new ArrayDeque<>();
    while (position < source.length()) {
      int end = open.isEmpty() ? tagEnd(print) : -1;
      if (end >= 0) {
        tokens.add(new Token(line, print ? Kind.PRINT_END : Kind.BLOCK_END, ""));
        advance(end);
        return;
      }
      int spaces = skipSpaces(position);
      if (spaces > position) {
        advance(spaces);
      } else {
        token(open);
      }
    }
    throw new SyntaxFailure(
        line,
        "expected "
            + (open.isEmpty() ? print ? "'}}'" : "'%}'" : "'" + open.peek() + "'")
            + " for what was opened in line "
            + opened
            + ", but the template ends");
  }

  private int tagEnd(boolean print) {
    if (!print) {
      return closing(position, "%}");
    }
    if (source.startsWith("-}}", position)) {
      return skipSpaces(position + 3);
    }
    return source.startsWith("}}", position) ? position + 2 : -1;
  }

  private void token(Deque<Character> open) {
    char first = source.charAt(position);
    int point = source.codePointAt(position);
    if (first >= '0' && first <= '9') {
      number();
    } else if (first == '_' || Character.isUnicodeIdentifierStart(point)) {
      int end = position;
      while (end < source.length()
          && (source.charAt(end) == '_'
              || Character.isUnicodeIdentifierPart(source.codePointAt(end))
                  && !Character.isIdentifierIgnorable(source.codePointAt(end)))) {
        end += Character.charCount(source.codePointAt(end));
      }
      add(Kind.NAME, source.substring(position, end), end);
    } else if (first == '\'' || first == '"') {
      string(first);
    } else {
      operator(open);
    }
  }

  private void add(Kind kind, String text, int end) {
    tokens.add(new Token(line, kind, text));
    advance(end);
  }

  private void operator(Deque<Character> open) {
    for (String operator : OPERATORS) {
      if (!source.startsWith(operator, position)) {
        continue;
      }
      switch (operator) {
        case "(" -> open.push(')');
        case "[" -> open.push(']');
        case "{" -> open.push('}');
        case ")", "]", "}" -> {
          if (open.isEmpty() || open.peek() != operator.charAt(0)) {
            throw new SyntaxFailure(
                line,
                "unexpected '"
                    + operator
                    + "'"
                    + (open.isEmpty() ? "" : ", expected '" + open.peek() + "'"));
          }
          open.pop();
        }
        default -> {}
      }
      add(Kind.OPERATOR, operator, position + operator.length());
      return;
    }
    throw new SyntaxFailure(
        line,
        "unexpected character "
            + Printer.shortText(Character.toString(source.codePointAt(position))));
  }

  /** Digits in any of Python's forms; underscores may stand between digits. */
  private void number() {
    char base = Character.toLowerCase(at(position + 1));
    if (at(position) == '0' && (base == 'x' || base == 'o' || base == 'b')) {
      int radix = base == 'x' ? 16 : base == 'o' ? 8 : 2;
      int end = digits(position + 2 + (at(position + 2) == '_' ? 1 : 0), radix);
      if (Character.digit(at(end - 1), radix) >= 0 && end > position + 2) {
        whole(source.substring(position + 2, end), radix, end);
        return;
      }
    }
    int end = digits(position, 10);
    boolean real = false;
    if (at(end) == '.' && isDigit(at(end + 1))) {
      end = digits(end + 1, 10);
      real = true;
    }
    if (at(end) == 'e' || at(end) == 'E') {
      int exponent = end + (at(end + 1) == '+' || at(end + 1) == '-' ? 2 : 1);
      if (isDigit(at(exponent))) {
        end = digits(exponent, 10);
        real = true;
      }
    }
    if (real) {
      add(Kind.FLOAT, source.substring(position, end).replace("_", ""), end);
    } else {
      whole(source.substring(position, end), 10, end);
    }
  }

  private void whole(String digits, int radix, int end) {
    String plain = digits.replace("_", "");
    if (radix == 10 && plain.length() > 1 && plain.charAt(0) == '0' && !plain.matches("0+")) {
      throw new SyntaxFailure(line, "a number must not begin with 0: " + Printer.shortText(digits));
    }
    try {
      add(Kind.INTEGER, Long.toString(Long.parseLong(plain, radix)), end);
    } catch (NumberFormatException e) {
      throw new SyntaxFailure(line, "a number beyond 64 bits: " + Printer.shortText(digits));
    }
  }

  private static boolean isDigit(char c) {
    return c >= '0' && c <= '9';
  }

  private int digits(int from, int radix) {
    int at = from;
    while (at(at) < 128
        && (Character.digit(at(at), radix) >= 0
            || at(at) == '_' && Character.digit(at(at + 1), radix) >= 0)) {
      at++;
    }
    return at;
  }

  private void string(char quote) {
    int end = position + 1;
    while (end < source.length() && source.charAt(end) != quote) {
      end += source.charAt(end) == '\\' ? 2 : 1;
    }
    if (end >= source.length()) {
      throw new SyntaxFailure(line, "expected " + quote + " at the end of this string");
    }
    String text = StringEscapes.decode(source.substring(position + 1, end), line);
    add(Kind.STRING, text, end + 1);
  }
}
