package io.peft4j.models.jinja;

import io.peft4j.InvalidConfigException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** JSON-like Java values as a template sees them. */
final class PlainData {
  private static final int MAX_DEPTH = 128;

  private PlainData() {}

  static Object of(String name, @Nullable Object value) {
    return of(name, value, 0);
  }

  private static Object of(String name, @Nullable Object value, int depth) {
    if (depth > MAX_DEPTH) {
      throw new InvalidConfigException(
          "variable '" + name + "' of a template nests deeper than " + MAX_DEPTH + " levels");
    }
    if (value == null) {
      return None.NONE;
    }
    if (value instanceof String || value instanceof Boolean) {
      return value;
    }
    if (value instanceof Integer
        || value instanceof Long
        || value instanceof Short
        || value instanceof Byte) {
      return ((Number) value).longValue();
    }
    if (value instanceof Double || value instanceof BigDecimal) {
      return ((Number) value).doubleValue();
    }
    if (value instanceof Float number) {
      // The number that its digits say, not the double nearest to its bits.
      return Double.parseDouble(number.toString());
    }
    if (value instanceof BigInteger number && number.bitLength() < 64) {
      return number.longValue();
    }
    if (value instanceof List<?> list) {
      List<Object> items = new ArrayList<>(list.size());
      list.forEach(item -> items.add(of(name, item, depth + 1)));
      return items;
    }
    if (value instanceof Map<?, ?> map) {
      Dict dict = new Dict();
      map.forEach((key, item) -> dict.put(key(name, key), of(name, item, depth + 1)));
      return dict;
    }
    throw new InvalidConfigException(
        "variable '"
            + name
            + "' of a template holds a "
            + value.getClass().getName()
            + "; it may hold null, strings, booleans, numbers of at most 64 bits, lists and maps");
  }

  private static Object key(String name, @Nullable Object key) {
    if (key instanceof String) {
      return key;
    }
    throw new InvalidConfigException(
        "variable '" + name + "' of a template has a map with a key that is no string: " + key);
  }
}
