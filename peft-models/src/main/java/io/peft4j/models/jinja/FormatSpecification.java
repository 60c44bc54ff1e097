package io.peft4j.models.jinja;

import java.math.BigDecimal;
import java.math.MathContext;
import java.math.RoundingMode;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** How a field is to look: {@code [[fill]align][sign][#][0][width][,][.precision][type]}. */
record FormatSpecification(
    @Nullable String fill,
    @Nullable String align,
    String sign,
    boolean zeros,
    int width,
    String grouping,
    int precision,
    char type) {
  private static final Pattern FORM =
      Pattern.compile(
          "(?:(.)?([<>=^]))?([-+ ])?#?(0)?([0-9]{1,8})?([,_])?(?:\\.([0-9]{1,3}))?([a-zA-Z%])?",
          Pattern.DOTALL);

  static FormatSpecification parse(String text) {
    Matcher matcher = FORM.matcher(text);
    if (text.length() > 100 || !matcher.matches()) {
      throw new Failure("a format of this form is not supported: " + Printer.shortText(text));
    }
    return new FormatSpecification(
        matcher.group(1),
        matcher.group(2),
        matcher.group(3) == null ? "-" : matcher.group(3),
        matcher.group(4) != null,
        matcher.group(5) == null ? 0 : Integer.parseInt(matcher.group(5)),
        matcher.group(6) == null ? "" : matcher.group(6),
        matcher.group(7) == null ? -1 : Integer.parseInt(matcher.group(7)),
        matcher.group(8) == null ? 0 : matcher.group(8).charAt(0));
  }

  String apply(Engine engine, Object value) {
    if (value instanceof Boolean && type == 0) {
      return place(engine, Printer.text(engine, value), "", '<');
    }
    if (Operators.isNumber(value) && type != 's') {
      boolean real = value instanceof Double || type != 0 && "fFeEgG%".indexOf(type) >= 0;
      return real ? real(engine, Operators.number(value)) : whole(engine, value);
    }
    if (type != 0 && type != 's') {
      throw new Failure("format '" + type + "' does not fit a " + Values.typeName(value));
    }
    if (!(value instanceof String) && !(value instanceof Undefined) && hasLayout()) {
      throw new Failure("a " + Values.typeName(value) + " takes no format");
    }
    String text = Printer.text(engine, value);
    boolean cut = precision >= 0 && precision < Text.length(text);
    return place(engine, cut ? Text.slice(text, 0, precision, 1) : text, "", '<');
  }

  private boolean hasLayout() {
    return align != null || width > 0 || precision >= 0 || type != 0;
  }

  private String whole(Engine engine, Object value) {
    long number = Values.integer(value, "format");
    String digits =
        switch (type) {
          case 0, 'd', 'n' -> Long.toString(number);
          case 'x' -> Long.toString(number, 16);
          case 'X' -> Text.upper(Long.toString(number, 16));
          case 'o' -> Long.toString(number, 8);
          case 'b' -> Long.toString(number, 2);
          default -> throw new Failure("format '" + type + "' does not fit an int");
        };
    return signed(engine, digits);
  }

  private String real(Engine engine, double number) {
    if (Double.isNaN(number) || Double.isInfinite(number)) {
      return signed(engine, Printer.real(number));
    }
    int digits = precision < 0 ? 6 : precision;
    BigDecimal exact = new BigDecimal(number);
    String sign = 1 / number < 0 ? "-" : "";
    String text =
        switch (type) {
          case 'f', 'F' -> sign + fixed(exact.abs(), digits);
          case '%' -> sign + fixed(exact.abs().movePointRight(2), digits) + "%";
          case 'e' -> sign + scientific(exact.abs(), digits);
          case 'E' -> sign + Text.upper(scientific(exact.abs(), digits));
          case 'g' -> sign + general(exact.abs(), Math.max(1, digits));
          case 'G' -> sign + Text.upper(general(exact.abs(), Math.max(1, digits)));
          case 0 -> {
            if (precision >= 0) {
              throw new Failure("a precision without a type is not supported for floats");
            }
            yield Printer.real(number);
          }
          default -> throw new Failure("format '" + type + "' does not fit a float");
        };
    return signed(engine, text);
  }

  private static String fixed(BigDecimal number, int digits) {
    return number.setScale(digits, RoundingMode.HALF_EVEN).toPlainString();
  }

  private static String scientific(BigDecimal number, int digits) {
    if (number.signum() == 0) {
      return fixed(number, digits) + "e+00";
    }
    BigDecimal rounded = number.round(new MathContext(digits + 1, RoundingMode.HALF_EVEN));
    int exponent = rounded.precision() - rounded.scale() - 1;
    String mantissa = fixed(rounded.movePointLeft(exponent), digits);
    return mantissa + (exponent < 0 ? "e-" : "e+") + String.format("%02d", Math.abs(exponent));
  }

  private static String general(BigDecimal number, int digits) {
    BigDecimal rounded = number.round(new MathContext(digits, RoundingMode.HALF_EVEN));
    int exponent = number.signum() == 0 ? 0 : rounded.precision() - rounded.scale() - 1;
    boolean plain = exponent >= -4 && exponent < digits;
    String text = plain ? fixed(rounded, digits - 1 - exponent) : scientific(rounded, digits - 1);
    int end = text.indexOf('e') < 0 ? text.length() : text.indexOf('e');
    String mantissa = text.substring(0, end);
    if (mantissa.indexOf('.') >= 0) {
      mantissa = Text.strip(Text.strip(mantissa, "0", false, true), ".", false, true);
    }
    return mantissa + text.substring(end);
  }

  private String signed(Engine engine, String number) {
    boolean negative = number.startsWith("-");
    String front = negative ? "-" : sign.equals("-") ? "" : sign;
    String digits = negative ? number.substring(1) : number;
    return place(engine, grouping.isEmpty() ? digits : grouped(digits), front, '>');
  }

  private String grouped(String digits) {
    int end = 0;
    while (end < digits.length() && Character.isDigit(digits.charAt(end))) {
      end++;
    }
    StringBuilder out = new StringBuilder(digits);
    for (int i = end - 3; i > 0; i -= 3) {
      out.insert(i, grouping);
    }
    return out.toString();
  }

  private String place(Engine engine, String text, String front, char usual) {
    char side = align != null ? align.charAt(0) : zeros && usual == '>' ? '=' : usual;
    String with = fill != null ? fill : zeros ? "0" : " ";
    engine.budget().characters(width);
    int missing = Math.max(0, width - Text.length(text) - front.length());
    int left = side == '<' ? 0 : side == '^' ? missing / 2 : missing;
    return side == '='
        ? front + with.repeat(missing) + text
        : with.repeat(left) + front + text + with.repeat(missing - left);
  }
}
