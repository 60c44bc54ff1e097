package io.peft4j.target;

import io.peft4j.InvalidConfigException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.regex.Pattern;

/**
 * Values for layers whose paths match a key: {@code rank_pattern} and {@code alpha_pattern}. A key
 * is a regular expression of Python's {@code re} module; it matches a path that it matches from the
 * start or from after any dot, up to the end. The first key that matches decides. Immutable.
 *
 * @param <V> type of the values
 */
public final class PatternTable<V> {
  private final String field;
  private final Map<String, V> entries;
  private final Map<String, Pattern> patterns;

  private PatternTable(String field, Map<String, ? extends V> entries) {
    this.field = field;
    this.entries = Collections.unmodifiableMap(new LinkedHashMap<>(entries));
    patterns = new LinkedHashMap<>();
    for (String key : this.entries.keySet()) {
      patterns.put(key, PythonRegex.compile(field + " key", key, "(.*\\.)?(" + key + ")$"));
    }
  }

  /**
   * Makes a table.
   *
   * @param field name of the configuration's field, for messages
   * @param entries keys and values; the order of iteration is the order of precedence
   * @param <V> type of the values
   * @return the table
   * @throws InvalidConfigException if a key is not a valid regular expression
   */
  public static <V> PatternTable<V> of(String field, Map<String, ? extends V> entries) {
    return new PatternTable<>(field, entries);
  }

  /**
   * Makes a table without entries.
   *
   * @param field name of the configuration's field, for messages
   * @param <V> type of the values
   * @return the table
   */
  public static <V> PatternTable<V> empty(String field) {
    return new PatternTable<>(field, Map.of());
  }

  /**
   * The configuration's field.
   *
   * @return for example {@code rank_pattern}
   */
  public String field() {
    return field;
  }

  /**
   * Keys and values.
   *
   * @return the entries in order of precedence, unmodifiable
   */
  public Map<String, V> entries() {
    return entries;
  }

  /**
   * Tells whether there are no entries.
   *
   * @return true if there are none
   */
  public boolean isEmpty() {
    return entries.isEmpty();
  }

  /**
   * The key that decides about a path.
   *
   * @param path dotted path of a layer
   * @return the first key that matches, if one does
   */
  public Optional<String> key(String path) {
    return patterns.keySet().stream().filter(key -> matches(key, path)).findFirst();
  }

  /**
   * The value for a path.
   *
   * @param path dotted path of a layer
   * @return the value of the first key that matches, if one does
   */
  public Optional<V> find(String path) {
    return key(path).map(entries::get);
  }

  /**
   * The value for a path, or another one.
   *
   * @param path dotted path of a layer
   * @param otherwise what holds where no key matches
   * @return the value
   */
  public V valueFor(String path, V otherwise) {
    return find(path).orElse(otherwise);
  }

  boolean matches(String key, String path) {
    Pattern pattern = patterns.get(key);
    return pattern != null && pattern.matcher(path).lookingAt();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof PatternTable<?> table
        && field.equals(table.field)
        && list(entries).equals(list(table.entries));
  }

  @Override
  public int hashCode() {
    return Objects.hash(field, list(entries));
  }

  @Override
  public String toString() {
    return field + entries;
  }

  // Order is part of the value.
  private static List<?> list(Map<?, ?> entries) {
    return new ArrayList<>(entries.entrySet());
  }
}
