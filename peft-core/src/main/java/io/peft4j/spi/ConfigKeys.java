package io.peft4j.spi;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.TaskType;
import io.peft4j.target.Targets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Reads the values of {@code adapter_config.json}, each with one clear error. */
public final class ConfigKeys {
  private final ObjectNode json;

  /**
   * Reads from an object.
   *
   * @param json the file's content with a method's defaults filled in
   */
  public ConfigKeys(ObjectNode json) {
    this.json = json;
  }

  /**
   * Puts a number as Python writes it: whole ones without a point.
   *
   * @param json takes it
   * @param key the key
   * @param value the number
   */
  public static void putNumber(ObjectNode json, String key, double value) {
    if (value == Math.rint(value) && Math.abs(value) < 1L << 53) {
      json.put(key, (long) value);
    } else {
      json.put(key, value);
    }
  }

  /**
   * A value as it stands.
   *
   * @param key the key
   * @return the value, null's node if there is none
   */
  public JsonNode value(String key) {
    JsonNode value = json.get(key);
    return value == null ? JsonNodeFactory.instance.nullNode() : value;
  }

  /**
   * An error about a value.
   *
   * @param key the key
   * @param allowed what it must be
   * @return the error
   */
  public InvalidConfigException wrong(String key, String allowed) {
    return new InvalidConfigException(key + " must be " + allowed + ", was " + value(key));
  }

  /**
   * True or false; missing is false.
   *
   * @param key the key
   * @return the value
   */
  public boolean flag(String key) {
    JsonNode value = value(key);
    if (!value.isBoolean() && !value.isNull()) {
      throw wrong(key, "true or false");
    }
    return value.booleanValue();
  }

  /**
   * A whole number.
   *
   * @param key the key
   * @return at least 1
   */
  public int positiveInteger(String key) {
    JsonNode value = value(key);
    if (!value.isIntegralNumber() || !value.canConvertToInt() || value.intValue() < 1) {
      throw wrong(key, "an integer of at least 1");
    }
    return value.intValue();
  }

  /**
   * A number.
   *
   * @param key the key
   * @return finite and above 0
   */
  public double positiveNumber(String key) {
    JsonNode value = value(key);
    if (!value.isNumber() || !(value.doubleValue() > 0) || Double.isInfinite(value.doubleValue())) {
      throw wrong(key, "a finite number above 0");
    }
    return value.doubleValue();
  }

  /**
   * A probability.
   *
   * @param key the key
   * @return in [0, 1)
   */
  public double fraction(String key) {
    JsonNode value = value(key);
    if (!value.isNumber() || !(value.doubleValue() >= 0) || !(value.doubleValue() < 1)) {
      throw wrong(key, "a number in [0, 1)");
    }
    return value.doubleValue();
  }

  /**
   * One name or a list of names, each once: PEFT repeats the names of heads each time it loads and
   * saves.
   *
   * @param key the key
   * @return the names; none if there is no value
   */
  public List<String> strings(String key) {
    JsonNode value = value(key);
    if (value.isNull()) {
      return List.of();
    }
    if (value.isTextual()) {
      return List.of(value.textValue());
    }
    List<String> strings = new ArrayList<>();
    if (value.isArray()) {
      value.forEach(element -> strings.add(element.isTextual() ? element.textValue() : ""));
    }
    if (!value.isArray() || strings.contains("")) {
      throw wrong(key, "a list of names");
    }
    return strings.stream().distinct().toList();
  }

  /**
   * An index or a list of them.
   *
   * @param key the key
   * @return numbers of at least 0; none if there is no value
   */
  public List<Integer> integers(String key) {
    JsonNode value = value(key);
    return value.isNull() ? List.of() : integers(key, value);
  }

  /**
   * An index or a list of them.
   *
   * @param key what to call it in messages
   * @param value where they stand
   * @return numbers of at least 0
   */
  public static List<Integer> integers(String key, JsonNode value) {
    List<Integer> integers = new ArrayList<>();
    for (JsonNode element : value.isArray() ? value : List.of(value)) {
      if (!element.isIntegralNumber() || !element.canConvertToInt() || element.intValue() < 0) {
        throw new InvalidConfigException(
            key + " must be a list of integers of at least 0, was " + value);
      }
      integers.add(element.intValue());
    }
    return List.copyOf(integers);
  }

  /**
   * Names of layers or an expression for them.
   *
   * @param key the key
   * @return the targets; null if there is no value
   */
  public @Nullable Targets targets(String key) {
    JsonNode value = value(key);
    if (value.isNull()) {
      return null;
    }
    return value.isTextual() ? Targets.parse(value.textValue()) : Targets.names(strings(key));
  }

  /**
   * The entries of an object.
   *
   * @param key the key
   * @return the object; null's node if there is no value
   */
  public JsonNode object(String key) {
    JsonNode value = value(key);
    if (!value.isObject() && !value.isNull()) {
      throw wrong(key, "an object");
    }
    return value;
  }

  /**
   * {@code task_type}.
   *
   * @return the task; empty if there is no value
   */
  public Optional<TaskType> taskType() {
    JsonNode value = value("task_type");
    if (value.isNull()) {
      return Optional.empty();
    }
    for (TaskType type : TaskType.values()) {
      if (value.isTextual() && type.name().equals(value.textValue())) {
        return Optional.of(type);
      }
    }
    throw wrong("task_type", "null or one of " + Arrays.toString(TaskType.values()));
  }

  /**
   * Refuses keys that say something which is not followed here.
   *
   * @param known keys that are understood, or change nothing
   * @param unimplemented keys that are known to mean something, and may only say nothing
   */
  public void refuseOthers(Set<String> known, Set<String> unimplemented) {
    json.properties()
        .forEach(
            entry -> {
              String key = entry.getKey();
              if (known.contains(key) || isNothing(entry.getValue())) {
                return;
              }
              throw new InvalidConfigException(
                  unimplemented.contains(key)
                      ? key + " is not implemented: it must be null, was " + entry.getValue()
                      : "the key '"
                          + key
                          + "' is not known, and it holds "
                          + entry.getValue()
                          + "; unknown keys may only be null, false or empty");
            });
  }

  private static boolean isNothing(JsonNode value) {
    return value.isNull()
        || (value.isBoolean() && !value.booleanValue())
        || (value.isContainerNode() && value.isEmpty())
        || (value.isTextual() && value.textValue().isEmpty());
  }
}
