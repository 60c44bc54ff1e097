package io.peft4j.cli;

import io.peft4j.InvalidConfigException;
import io.peft4j.PeftException;
import java.util.LinkedHashMap;
import java.util.Map;

/** Reads option values of the form {@code a=1,b=2,c}. */
final class Pairs {
  private Pairs() {}

  /**
   * Splits at commas and the first equals sign of each part.
   *
   * @param option what error messages call it
   * @return key to value, in order; the value is empty where there is no equals sign
   */
  static Map<String, String> parse(String option, String text) {
    Map<String, String> pairs = new LinkedHashMap<>();
    for (String part : text.split(",", -1)) {
      int equals = part.indexOf('=');
      String key = (equals < 0 ? part : part.substring(0, equals)).strip();
      String value = equals < 0 ? "" : part.substring(equals + 1).strip();
      if (key.isEmpty() || (equals >= 0 && value.isEmpty())) {
        throw new InvalidConfigException(
            option + " is a list such as a,b=0.5 without empty places; given was '" + text + "'");
      }
      if (pairs.put(key, value) != null) {
        throw new InvalidConfigException(
            option + " names '" + key + "' twice; given was '" + text + "'");
      }
    }
    return pairs;
  }

  /** A finite number. */
  static double number(String option, String key, String value) {
    try {
      double number = Double.parseDouble(value);
      if (Double.isFinite(number) && !value.matches(".*[dDfFxX]$|.*0[xX].*")) {
        return number;
      }
    } catch (NumberFormatException e) {
      throw new PeftException(notANumber(option, key, value), e);
    }
    throw new InvalidConfigException(notANumber(option, key, value));
  }

  /** A whole number that fits an int. */
  static int integer(String option, String key, String value) {
    try {
      return Integer.parseInt(value);
    } catch (NumberFormatException e) {
      throw new PeftException(
          option + ": " + key + " must be a whole number; given was '" + value + "'", e);
    }
  }

  private static String notANumber(String option, String key, String value) {
    return option + ": " + key + " must be a finite number; given was '" + value + "'";
  }
}
