package io.peft4j.models.jinja;

import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.Map;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** The filters over numbers. */
final class NumberFilters {
  static final Map<String, Function> ALL =
      Map.of(
          "int", NumberFilters::toInt,
          "float", NumberFilters::toFloat,
          "abs", NumberFilters::absolute,
          "round", NumberFilters::round);

  private static final int LONGEST_NUMBER = 400;
  private static final Pattern DECIMAL =
      Pattern.compile("[+-]?(?:[0-9]+\\.?[0-9]*|\\.[0-9]+)(?:[eE][+-]?[0-9]+)?");

  private NumberFilters() {}

  private static Object toInt(Engine engine, Arguments arguments) {
    Arguments.Bound given = arguments.bind("int", "value", "default?", "base?");
    Object value = defined(given.get(0));
    if (Operators.isWhole(value)) {
      return Values.integer(value, "int");
    }
    Double number;
    if (value instanceof String text) {
      Long whole = parseWhole(text, given.integer(2, 10));
      if (whole != null) {
        return whole;
      }
      number = parse(text);
    } else {
      number = value instanceof Double real ? real : null;
    }
    if (number == null || number.isNaN() || number.isInfinite()) {
      return given.get(1, 0L);
    }
    if (Math.abs(number) >= 0x1p63) {
      throw new Failure("ints beyond 64 bits are not supported: " + number);
    }
    return number.longValue();
  }

  private static Object defined(Object value) {
    if (value instanceof Undefined undefined) {
      throw undefined.failure();
    }
    return value;
  }

  private static @Nullable Long parseWhole(String text, long base) {
    String digits = clean(text);
    if (digits == null || base < 2 || base > 36) {
      return null;
    }
    String prefix = base == 16 ? "0x" : base == 8 ? "0o" : base == 2 ? "0b" : "";
    String sign = digits.startsWith("-") ? "-" : "";
    String rest = digits.startsWith("-") || digits.startsWith("+") ? digits.substring(1) : digits;
    if (!prefix.isEmpty() && Text.lower(rest).startsWith(prefix)) {
      rest = rest.substring(2);
    }
    if (rest.startsWith("-") || rest.startsWith("+")) {
      return null;
    }
    try {
      return Long.parseLong(sign + rest, (int) base);
    } catch (NumberFormatException e) {
      return null;
    }
  }

  /** A number without the white space and underscores that Python allows; null if it is none. */
  private static @Nullable String clean(String text) {
    String trimmed = Text.strip(text, null, true, true);
    boolean underscores =
        trimmed.startsWith("_") || trimmed.endsWith("_") || trimmed.contains("__");
    return trimmed.length() > LONGEST_NUMBER || underscores ? null : trimmed.replace("_", "");
  }

  private static @Nullable Double parse(String text) {
    String number = clean(text);
    if (number == null) {
      return null;
    }
    if (DECIMAL.matcher(number).matches()) {
      return Double.valueOf(number);
    }
    String name = Text.lower(number.startsWith("+") ? number.substring(1) : number);
    return switch (name) {
      case "nan", "-nan" -> Double.NaN;
      case "inf", "infinity" -> Double.POSITIVE_INFINITY;
      case "-inf", "-infinity" -> Double.NEGATIVE_INFINITY;
      default -> null;
    };
  }

  private static Object toFloat(Engine engine, Arguments arguments) {
    Arguments.Bound given = arguments.bind("float", "value", "default?");
    Object value = defined(given.get(0));
    if (Operators.isNumber(value)) {
      return Operators.number(value);
    }
    Double number = value instanceof String text ? parse(text) : null;
    return number == null ? given.get(1, 0.0) : number;
  }

  private static Object absolute(Engine engine, Arguments arguments) {
    Object value = defined(arguments.bind("abs", "x").get(0));
    if (!Operators.isNumber(value)) {
      throw new Failure("abs needs a number, not " + Values.typeName(value));
    }
    return Operators.sign(Operators.number(value) < 0, value);
  }

  private static Object round(Engine engine, Arguments arguments) {
    Arguments.Bound given = arguments.bind("round", "value", "precision?", "method?");
    Object value = defined(given.get(0));
    long precision = given.integer(1, 0);
    String method = given.has(2) ? given.string(2) : "common";
    if (!Operators.isNumber(value)) {
      throw new Failure("round needs a number, not " + Values.typeName(value));
    }
    if (Math.abs(precision) > LONGEST_NUMBER) {
      throw new Failure("round: a precision of " + precision + " digits is too much");
    }
    double number = Operators.number(value);
    return switch (method) {
      case "common" -> {
        if (value instanceof Double) {
          yield Double.isNaN(number) || Double.isInfinite(number)
              ? number
              : new BigDecimal(number)
                  .setScale((int) precision, RoundingMode.HALF_EVEN)
                  .doubleValue();
        }
        BigDecimal whole = BigDecimal.valueOf(Values.integer(value, "round"));
        yield whole.setScale((int) Math.min(0, precision), RoundingMode.HALF_EVEN).longValue();
      }
      case "ceil" -> Math.ceil(number * Math.pow(10, precision)) / Math.pow(10, precision);
      case "floor" -> Math.floor(number * Math.pow(10, precision)) / Math.pow(10, precision);
      default -> throw new Failure("round: the method must be common, ceil or floor");
    };
  }
}
