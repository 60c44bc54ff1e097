package io.peft4j.state;

import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.InvalidConfigException;
import java.math.BigDecimal;
import java.math.MathContext;
import java.math.RoundingMode;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;

/** Writes JSON byte for byte as Python's standard library does with two spaces and sorted keys. */
final class PythonJson {
  private final StringBuilder out = new StringBuilder();

  private PythonJson() {}

  static String write(JsonNode value) {
    PythonJson writer = new PythonJson();
    writer.value(value, 0);
    return writer.out.toString();
  }

  private void value(JsonNode value, int depth) {
    switch (value.getNodeType()) {
      case OBJECT -> object(value, depth);
      case ARRAY -> array(value, depth);
      case STRING -> quote(out, value.textValue(), true);
      case BOOLEAN -> out.append(value.booleanValue());
      case NUMBER -> {
        if (value.isIntegralNumber()) {
          out.append(value.bigIntegerValue());
        } else {
          out.append(repr(value.doubleValue()));
        }
      }
      case NULL -> out.append("null");
      default ->
          throw new InvalidConfigException(
              "JSON holds objects, lists, strings, numbers, booleans and null, but a "
                  + value.getNodeType()
                  + " was given");
    }
  }

  private void object(JsonNode object, int depth) {
    List<String> keys = new ArrayList<>();
    object.fieldNames().forEachRemaining(keys::add);
    if (keys.isEmpty()) {
      out.append("{}");
      return;
    }
    keys.sort(SafeTensorsHeader.BY_CODE_POINT);
    char before = '{';
    for (String key : keys) {
      out.append(before);
      newline(depth + 1);
      quote(out, key, true);
      out.append(": ");
      value(object.get(key), depth + 1);
      before = ',';
    }
    newline(depth);
    out.append('}');
  }

  private void array(JsonNode array, int depth) {
    if (array.isEmpty()) {
      out.append("[]");
      return;
    }
    char before = '[';
    for (Iterator<JsonNode> items = array.elements(); items.hasNext(); ) {
      out.append(before);
      newline(depth + 1);
      value(items.next(), depth + 1);
      before = ',';
    }
    newline(depth);
    out.append(']');
  }

  private void newline(int depth) {
    out.append('\n').append("  ".repeat(depth));
  }

  static void quote(StringBuilder out, String text, boolean ascii) {
    out.append('"');
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      switch (c) {
        case '"' -> out.append("\\\"");
        case '\\' -> out.append("\\\\");
        case '\n' -> out.append("\\n");
        case '\r' -> out.append("\\r");
        case '\t' -> out.append("\\t");
        case '\f' -> out.append("\\f");
        case '\b' -> out.append("\\b");
        default -> {
          if (c >= ' ' && (c <= '~' || !ascii)) {
            out.append(c);
          } else {
            out.append("\\u");
            for (int shift = 12; shift >= 0; shift -= 4) {
              out.append(Character.forDigit((c >> shift) & 15, 16));
            }
          }
        }
      }
    }
    out.append('"');
  }

  /**
   * The shortest decimal that reads back as the same double, and of those the nearest; with an
   * exponent below 1e-4 and from 1e16 on. (Java 17's own conversion is not always the shortest.)
   */
  static String repr(double value) {
    if (Double.isNaN(value) || Double.isInfinite(value)) {
      throw new InvalidConfigException(
          "JSON has no way to write " + value + "; a finite number is needed");
    }
    if (value == 0) {
      return 1 / value < 0 ? "-0.0" : "0.0";
    }
    BigDecimal shortest = shortest(Math.abs(value)).stripTrailingZeros();
    String digits = shortest.unscaledValue().toString();
    int point = digits.length() - shortest.scale();
    StringBuilder text = new StringBuilder(value < 0 ? "-" : "");
    if (point > 16 || point < -3) {
      text.append(digits.charAt(0));
      if (digits.length() > 1) {
        text.append('.').append(digits, 1, digits.length());
      }
      int exponent = Math.abs(point - 1);
      text.append(point > 0 ? "e+" : "e-").append(exponent < 10 ? "0" : "").append(exponent);
    } else if (point <= 0) {
      text.append("0.").append("0".repeat(-point)).append(digits);
    } else if (point >= digits.length()) {
      text.append(digits).append("0".repeat(point - digits.length())).append(".0");
    } else {
      text.append(digits, 0, point).append('.').append(digits, point, digits.length());
    }
    return text.toString();
  }

  private static BigDecimal shortest(double value) {
    BigDecimal exact = new BigDecimal(value);
    for (int precision = 1; precision < 17; precision++) {
      BigDecimal below = exact.round(new MathContext(precision, RoundingMode.DOWN));
      BigDecimal above = exact.round(new MathContext(precision, RoundingMode.UP));
      boolean belowIsIt = below.doubleValue() == value;
      boolean aboveIsIt = above.doubleValue() == value;
      if (belowIsIt && aboveIsIt) {
        return exact.round(new MathContext(precision, RoundingMode.HALF_EVEN));
      }
      if (belowIsIt || aboveIsIt) {
        return belowIsIt ? below : above;
      }
    }
    return exact.round(new MathContext(17, RoundingMode.HALF_EVEN));
  }
}
