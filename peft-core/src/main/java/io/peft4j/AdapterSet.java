package io.peft4j;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Which adapters act on one forward pass: a value, part of the request. Either the same adapters
 * for every row of the batch, each with a strength, or one adapter (or none) for each row.
 *
 * <p>Where an adapter is made of parts, as hybrids are, its name stands for all of them; {@code
 * mix/style} names one part alone, {@code mix/style+facts} two of them.
 */
public final class AdapterSet {
  /** The name that stands for "no adapter" where rows name one. */
  public static final String BASE = "__base__";

  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9_-]+");

  private static final AdapterSet NONE = new AdapterSet(Map.of(), List.of());

  private final Map<String, Float> strengths;
  private final List<String> rows;

  private AdapterSet(Map<String, Float> strengths, List<String> rows) {
    this.strengths = strengths;
    this.rows = rows;
  }

  /**
   * No adapter: the base alone.
   *
   * @return the empty set
   */
  public static AdapterSet none() {
    return NONE;
  }

  /**
   * Adapters that act together at full strength, their effects added in this order.
   *
   * @param names adapter names, each once
   * @return the set
   * @throws InvalidConfigException if a name is given twice or cannot be a name
   */
  public static AdapterSet of(String... names) {
    AdapterSet set = NONE;
    for (String name : names) {
      set = set.and(name, 1);
    }
    return set;
  }

  /**
   * This set and one more adapter, whose effect is multiplied by a strength. Copies of parameters
   * that it brings (modules to save, trained biases) act whole whatever the strength, as in PEFT.
   *
   * @param name adapter name, not in this set yet
   * @param strength finite factor; negative takes the effect away
   * @return the larger set
   * @throws InvalidConfigException if this set is one of rows, the name is in it already or cannot
   *     be a name, or the strength is not finite
   */
  public AdapterSet and(String name, double strength) {
    if (!rows.isEmpty()) {
      throw new InvalidConfigException("a set that names an adapter for each row takes no more");
    }
    AdapterName.parse(name);
    if (!Float.isFinite((float) strength)) {
      throw new InvalidConfigException(
          "the strength of adapter '" + name + "' must be finite, was " + strength);
    }
    Map<String, Float> more = new LinkedHashMap<>(strengths);
    if (more.put(name, (float) strength) != null) {
      throw new InvalidConfigException("adapter '" + name + "' is named twice");
    }
    return new AdapterSet(Collections.unmodifiableMap(more), rows);
  }

  /**
   * One adapter for each row of the batch.
   *
   * @param names as many adapter names as the batch has rows; {@link #BASE} for none
   * @return the set
   * @throws InvalidConfigException if no name is given or one cannot be a name
   */
  public static AdapterSet rows(List<String> names) {
    if (names.isEmpty()) {
      throw new InvalidConfigException("adapter names by row: at least one row is needed");
    }
    for (String name : names) {
      if (!name.equals(BASE)) {
        AdapterName.parse(name);
      }
    }
    return new AdapterSet(Map.of(), List.copyOf(names));
  }

  /**
   * One adapter for each row of the batch.
   *
   * @param names as many adapter names as the batch has rows; {@link #BASE} for none
   * @return the set
   * @throws InvalidConfigException if no name is given or one cannot be a name
   */
  public static AdapterSet rows(String... names) {
    return rows(Arrays.asList(names));
  }

  /**
   * Checks that a string can name an adapter: letters, digits, {@code _} and {@code -}, not {@link
   * #BASE}.
   *
   * @param name the name
   * @return the name
   * @throws InvalidConfigException if it cannot
   */
  public static String checkName(String name) {
    if (name.equals(BASE) || !NAME.matcher(name).matches()) {
      throw new InvalidConfigException(
          "an adapter name is made of letters, digits, '_' and '-' and is not '"
              + BASE
              + "'; got '"
              + name
              + "'");
    }
    return name;
  }

  /**
   * Adapters and strengths that act on every row, in order; empty for a set of rows.
   *
   * @return name to strength
   */
  public Map<String, Float> strengths() {
    return strengths;
  }

  /**
   * The adapter of each row; empty if all rows share the same adapters.
   *
   * @return adapter names, {@link #BASE} for none
   */
  public List<String> rows() {
    return rows;
  }

  /**
   * All adapters that this set needs, be it for parts of them alone.
   *
   * @return their names, each once
   */
  public List<String> names() {
    return Stream.concat(strengths.keySet().stream(), rows.stream())
        .filter(name -> !name.equals(BASE))
        .map(name -> AdapterName.parse(name).adapter())
        .distinct()
        .toList();
  }

  /**
   * Tells whether this is the base alone.
   *
   * @return true if no adapter acts on any row
   */
  public boolean isNone() {
    return names().isEmpty();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof AdapterSet set
        && rows.equals(set.rows)
        && new ArrayList<>(strengths.entrySet()).equals(new ArrayList<>(set.strengths.entrySet()));
  }

  @Override
  public int hashCode() {
    return 31 * strengths.hashCode() + rows.hashCode();
  }

  @Override
  public String toString() {
    return rows.isEmpty() ? strengths.toString() : rows.toString();
  }
}
