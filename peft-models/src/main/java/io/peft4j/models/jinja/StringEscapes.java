package io.peft4j.models.jinja;

/** The escapes of Python's strings. */
final class StringEscapes {
  private StringEscapes() {}

  static String decode(String body, int line) {
    if (body.indexOf('\\') < 0) {
      return body;
    }
    StringBuilder out = new StringBuilder(body.length());
    int at = 0;
    while (at < body.length()) {
      char c = body.charAt(at++);
      if (c != '\\') {
        out.append(c);
        continue;
      }
      char escape = body.charAt(at++);
      switch (escape) {
        case '\n' -> {}
        case '\\', '\'', '"' -> out.append(escape);
        case 'a' -> out.append('\u0007');
        case 'b' -> out.append('\b');
        case 'f' -> out.append('\f');
        case 'n' -> out.append('\n');
        case 'r' -> out.append('\r');
        case 't' -> out.append('\t');
        case 'v' -> out.append('\u000b');
        case 'x', 'u', 'U' -> {
          int digits = escape == 'x' ? 2 : escape == 'u' ? 4 : 8;
          out.appendCodePoint(hexadecimal(body, at, digits, line));
          at += digits;
        }
        case '0', '1', '2', '3', '4', '5', '6', '7' -> {
          int end = at;
          while (end < body.length() && end < at + 2 && Character.digit(body.charAt(end), 8) >= 0) {
            end++;
          }
          out.appendCodePoint(Integer.parseInt(body.substring(at - 1, end), 8));
          at = end;
        }
        case 'N' -> throw new SyntaxFailure(line, "characters by name (\\N) are not supported");
        default -> out.append('\\').append(escape);
      }
    }
    return out.toString();
  }

  private static int hexadecimal(String body, int from, int digits, int line) {
    long value = 0;
    for (int i = from; i < from + digits; i++) {
      int digit = i < body.length() ? Character.digit(body.charAt(i), 16) : -1;
      if (digit < 0) {
        throw new SyntaxFailure(line, "an escape needs " + digits + " hexadecimal digits");
      }
      value = value * 16 + digit;
    }
    if (value > Character.MAX_CODE_POINT) {
      throw new SyntaxFailure(line, "there is no such character: " + Long.toHexString(value));
    }
    return (int) value;
  }
}
