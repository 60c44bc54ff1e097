package io.peft4j.models;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/** Typed and checked reading of a {@code config.json}. A key with value null counts as absent. */
public final class ConfigValues {
  /** No model has more of anything; shapes made of such sizes still fit a long. */
  private static final int MOST = 1 << 24;

  private final ObjectNode json;
  private final String origin;

  /**
   * Reads from an object.
   *
   * @param json the keys; not modified
   * @param origin what error messages call it, for example the file's path
   */
  public ConfigValues(ObjectNode json, String origin) {
    this.json = json;
    this.origin = origin;
  }

  /**
   * Tells whether a key has a value.
   *
   * @param key the key
   * @return false if it is absent or null
   */
  public boolean has(String key) {
    return json.hasNonNull(key);
  }

  /**
   * Tells whether there are no keys at all.
   *
   * @return true if so
   */
  public boolean isEmpty() {
    return json.isEmpty();
  }

  /**
   * Tells whether a key is there with value null, which may say other than its absence.
   *
   * @param key the key
   * @return true if it is there and null
   */
  public boolean isNull(String key) {
    return json.path(key).isNull();
  }

  /**
   * A size.
   *
   * @param key the key
   * @return its value
   * @throws InvalidConfigException if it is absent or not a whole number from 1 to 2^24
   */
  public int size(String key) {
    if (!has(key)) {
      throw new InvalidConfigException(origin + ": the key '" + key + "' is missing");
    }
    return size(key, 0);
  }

  /**
   * A size.
   *
   * @param key the key
   * @param absent what is meant where the key is absent
   * @return its value
   * @throws InvalidConfigException if it is not a whole number from 1 to 2^24
   */
  public int size(String key, int absent) {
    return has(key) ? integer(key, 1, MOST) : absent;
  }

  /**
   * The number of layers.
   *
   * @param key the key
   * @param absent what is meant where the key is absent
   * @return its value
   * @throws InvalidConfigException if it is not a whole number from 1 to 4096
   */
  public int layers(String key, int absent) {
    return has(key) ? integer(key, 1, 4096) : absent;
  }

  /**
   * The index of a token.
   *
   * @param key the key
   * @param absent what is meant where the key is absent
   * @return its value
   * @throws InvalidConfigException if it is not a whole number from 0 to 2^24
   */
  public int token(String key, int absent) {
    return has(key) ? integer(key, 0, MOST) : absent;
  }

  /**
   * The index of a token that there may be none of.
   *
   * @param key the key
   * @param absent what is meant where the key is absent
   * @return its value; -1 for null, and for -1 as old conversions have it
   * @throws InvalidConfigException if it is neither null nor a whole number from -1 to 2^24
   */
  public int tokenOrNone(String key, int absent) {
    return isNull(key) ? -1 : has(key) ? integer(key, -1, MOST) : absent;
  }

  private int integer(String key, int least, int most) {
    JsonNode value = json.get(key);
    if (!value.isIntegralNumber() || !value.canConvertToInt()) {
      throw wrong(key, "a whole number from " + least + " to " + most);
    }
    int number = value.intValue();
    if (number < least || number > most) {
      throw wrong(key, "a whole number from " + least + " to " + most);
    }
    return number;
  }

  /**
   * A small positive number, such as the epsilon of a norm.
   *
   * @param key the key
   * @param absent what is meant where the key is absent
   * @return its value
   * @throws InvalidConfigException if it is not a number from 0 to 1
   */
  public double fraction(String key, double absent) {
    return has(key) ? number(key, 0, 1, "a number from 0 to 1") : absent;
  }

  /**
   * A probability of dropping.
   *
   * @param key the key
   * @param absent what is meant where the key is absent
   * @return its value
   * @throws InvalidConfigException if it is not a number from 0 to below 1
   */
  public double dropout(String key, double absent) {
    return has(key) ? number(key, 0, Math.nextDown(1.0), "a number from 0 to below 1") : absent;
  }

  /**
   * A positive number.
   *
   * @param key the key
   * @param absent what is meant where the key is absent
   * @return its value
   * @throws InvalidConfigException if it is not a finite number above 0
   */
  public double positive(String key, double absent) {
    return has(key)
        ? number(key, Double.MIN_VALUE, Double.MAX_VALUE, "a finite number above 0")
        : absent;
  }

  /**
   * A positive number.
   *
   * @param key the key
   * @return its value
   * @throws InvalidConfigException if it is absent or not a finite number above 0
   */
  public double positive(String key) {
    if (!has(key)) {
      throw new InvalidConfigException(origin + ": the key '" + key + "' is missing");
    }
    return positive(key, 0);
  }

  /**
   * Positive numbers.
   *
   * @param key the key
   * @param count how many there must be
   * @return its values
   * @throws InvalidConfigException if it is not a list of so many finite numbers above 0
   */
  public List<Double> positives(String key, int count) {
    JsonNode list = json.path(key);
    List<Double> values = new ArrayList<>();
    if (list.isArray() && list.size() == count) {
      list.forEach(value -> values.add(value.isNumber() ? value.doubleValue() : Double.NaN));
    }
    if (values.size() != count || !values.stream().allMatch(v -> v > 0 && Double.isFinite(v))) {
      throw wrong(key, "a list of " + count + " finite numbers above 0");
    }
    return values;
  }

  /**
   * Words.
   *
   * @param key the key
   * @param count how many there must be
   * @param allowed what is implemented
   * @return its values
   * @throws InvalidConfigException if it is not a list of so many of these words
   */
  public List<String> choices(String key, int count, Set<String> allowed) {
    JsonNode list = json.path(key);
    List<String> values = new ArrayList<>();
    if (list.isArray() && list.size() == count) {
      list.forEach(value -> values.add(value.asText()));
    }
    if (values.size() != count || !allowed.containsAll(values)) {
      throw wrong(key, "a list of " + count + " out of " + new TreeSet<>(allowed));
    }
    return values;
  }

  private double number(String key, double least, double most, String allowed) {
    JsonNode value = json.get(key);
    double number = value.isNumber() ? value.doubleValue() : Double.NaN;
    if (!(number >= least && number <= most)) {
      throw wrong(key, allowed);
    }
    return number;
  }

  /**
   * A switch.
   *
   * @param key the key
   * @param absent what is meant where the key is absent
   * @return its value
   * @throws InvalidConfigException if it is neither true nor false
   */
  public boolean flag(String key, boolean absent) {
    if (!has(key)) {
      return absent;
    }
    if (!json.get(key).isBoolean()) {
      throw wrong(key, "true or false");
    }
    return json.get(key).booleanValue();
  }

  /**
   * A word out of several.
   *
   * @param key the key
   * @param absent what is meant where the key is absent
   * @param allowed what is implemented
   * @return its value
   * @throws InvalidConfigException if it is none of those
   */
  public String choice(String key, String absent, Set<String> allowed) {
    if (!has(key)) {
      return absent;
    }
    String value = json.get(key).textValue();
    if (value == null || !allowed.contains(value)) {
      throw new InvalidConfigException(
          origin
              + ": "
              + key
              + " "
              + shown(key)
              + " is not implemented; implemented is "
              + String.join(", ", List.copyOf(new TreeSet<>(allowed))));
    }
    return value;
  }

  /**
   * An object inside.
   *
   * @param key the key
   * @return its values; empty ones if the key is absent
   * @throws InvalidConfigException if it is not an object
   */
  public ConfigValues inner(String key) {
    if (has(key) && !json.get(key).isObject()) {
      throw wrong(key, "an object");
    }
    return new ConfigValues(
        json.get(key) instanceof ObjectNode object ? object : json.objectNode(),
        origin + ": " + key);
  }

  /**
   * Refuses a key that asks for what is not implemented. Values that ask for nothing pass: null,
   * false, 0 and what is empty.
   *
   * @param keys the keys
   * @throws InvalidConfigException if one asks for something
   */
  public void refuse(String... keys) {
    for (String key : keys) {
      JsonNode value = json.get(key);
      boolean nothing =
          value == null
              || value.isNull()
              || (value.isBoolean() && !value.booleanValue())
              || (value.isNumber() && value.doubleValue() == 0)
              || (value.isContainerNode() && value.isEmpty());
      if (!nothing) {
        throw new InvalidConfigException(
            origin + ": " + key + " " + shown(key) + " is not implemented");
      }
    }
  }

  /**
   * The number of classes: the size of {@code id2label}, else {@code num_labels}, else 2.
   *
   * @return the number
   * @throws InvalidConfigException if what is there is of the wrong type
   */
  public int labels() {
    if (!has("id2label")) {
      return size("num_labels", 2);
    }
    JsonNode labels = json.get("id2label");
    if (!labels.isObject() || labels.isEmpty()) {
      throw wrong("id2label", "an object that maps each class's number to its name");
    }
    return labels.size();
  }

  /**
   * An error about a key's value.
   *
   * @param key the key
   * @param allowed what it must be
   * @return the error, to be thrown
   */
  public InvalidConfigException wrong(String key, String allowed) {
    return new InvalidConfigException(
        origin + ": " + key + " must be " + allowed + "; given was " + shown(key));
  }

  private String shown(String key) {
    String text = String.valueOf(json.get(key));
    return text.length() > 100 ? text.substring(0, 100) + "..." : text;
  }
}
