package io.peft4j.models.jinja;

import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Python's dict: in the order of insertion, where 1, 1.0 and True are one key. */
final class Dict {
  private final Map<Object, Map.Entry<Object, Object>> entries = new LinkedHashMap<>();

  /** The key itself stays the one first put, as in Python. */
  void put(Object key, Object value) {
    entries.merge(
        canonical(key),
        Map.entry(key, value),
        (before, now) -> Map.entry(before.getKey(), now.getValue()));
  }

  void putAll(Dict other) {
    other.entries().forEach(entry -> put(entry.getKey(), entry.getValue()));
  }

  @Nullable Object get(Object key) {
    Map.Entry<Object, Object> entry = entries.get(canonical(key));
    return entry == null ? null : entry.getValue();
  }

  boolean has(Object key) {
    return entries.containsKey(canonical(key));
  }

  int size() {
    return entries.size();
  }

  Collection<Map.Entry<Object, Object>> entries() {
    return entries.values();
  }

  List<Object> keys() {
    List<Object> keys = new ArrayList<>(size());
    entries().forEach(entry -> keys.add(entry.getKey()));
    return keys;
  }

  List<Object> values() {
    List<Object> values = new ArrayList<>(size());
    entries().forEach(entry -> values.add(entry.getValue()));
    return values;
  }

  List<Object> items() {
    List<Object> items = new ArrayList<>(size());
    entries().forEach(entry -> items.add(Tuple.of(entry.getKey(), entry.getValue())));
    return items;
  }

  /** A Java value that is equal where Python's keys are equal. */
  static Object canonical(Object key) {
    if (key instanceof Tuple tuple) {
      List<Object> parts = new ArrayList<>(tuple.items().size());
      for (Object part : tuple.items()) {
        // Shared tuples in tuples would take time without bound to hash.
        if (part instanceof Tuple) {
          throw new Failure("a tuple that holds tuples cannot be a key here");
        }
        parts.add(canonical(part));
      }
      return new Tuple(parts);
    }
    if (key instanceof List || key instanceof Dict || key instanceof DictView) {
      throw new Failure("unhashable type: '" + Values.typeName(key) + "'");
    }
    if (key instanceof Boolean flag) {
      return flag ? 1L : 0L;
    }
    if (key instanceof Double number && number == Math.rint(number) && Math.abs(number) < 9e18) {
      return number.longValue();
    }
    return key instanceof Undefined ? Undefined.class : key;
  }
}
