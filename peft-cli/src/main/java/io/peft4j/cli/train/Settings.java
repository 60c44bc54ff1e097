package io.peft4j.cli.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.NullNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import io.peft4j.spi.PeftMethod;
import io.peft4j.spi.PeftMethods;
import io.peft4j.target.Nearest;
import java.math.BigDecimal;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * What a configuration file says, under the names that keys have here, with the method that it
 * chooses. A key that nobody knows, and one that is said twice, is an error.
 */
final class Settings {
  private final Path file;
  private final Map<String, JsonNode> values = new LinkedHashMap<>();

  /** How the file spells each key. */
  private final Map<String, String> spelled = new LinkedHashMap<>();

  private final PeftMethod method;

  /** The parts of a hybrid, where the method is a list; they stand in the settings too. */
  private final List<ObjectNode> methodParts = new ArrayList<>();

  private final ObjectNode methodSettings = JsonNodeFactory.instance.objectNode();

  private Settings(Path file, ObjectNode content) {
    this.file = file;
    Map<String, JsonNode> left = new LinkedHashMap<>();
    content
        .properties()
        .forEach(
            entry -> {
              String name = Keys.SPELLINGS.get(entry.getKey());
              if (name == null) {
                left.put(entry.getKey(), entry.getValue());
              } else if (!entry.getValue().isNull()) {
                String before = spelled.put(name, entry.getKey());
                if (before != null) {
                  throw wrong(before + " and " + entry.getKey() + " say the same: give one");
                }
                values.put(name, entry.getValue());
              }
            });
    method = chosen();
    left.forEach(this::takeForMethod);
  }

  static Settings read(Path file) {
    return read(file, List.of());
  }

  /** Reads a file, and changes of the form key=value that take the place of what it says. */
  static Settings read(Path file, List<String> changes) {
    ObjectNode content = YamlFile.read(file);
    for (String change : changes) {
      int equals = change.indexOf('=');
      if (equals < 1) {
        throw new InvalidConfigException("a change is KEY=VALUE; given was '" + change + "'");
      }
      String key = change.substring(0, equals).strip();
      String name = Keys.SPELLINGS.get(key);
      if (name != null) {
        List<String> said = new ArrayList<>();
        content.fieldNames().forEachRemaining(said::add);
        said.removeIf(other -> !name.equals(Keys.SPELLINGS.get(other)));
        content.remove(said);
      }
      content.set(key, YamlFile.value(change.substring(equals + 1)));
    }
    return new Settings(file, content);
  }

  InvalidConfigException wrong(String problem) {
    return new InvalidConfigException(file + ": " + problem);
  }

  // --- the method -------------------------------------------------------------------------------

  private static String nameOf(PeftMethod method) {
    return method.name().toLowerCase(Locale.ROOT);
  }

  private PeftMethod chosen() {
    JsonNode given = values.getOrDefault(Keys.METHOD.name(), NullNode.instance);
    List<PeftMethod> all = PeftMethods.all();
    String known = all.stream().map(Settings::nameOf).sorted().collect(Collectors.joining(", "));
    if (given.isNull()) {
      throw wrong("method is needed: one of " + known);
    }
    if (given.isArray()) {
      methodParts.addAll(MethodParts.of(given));
      methodSettings.putArray(MethodParts.KEY).addAll(methodParts);
      return PeftMethods.named(MethodParts.METHOD);
    }
    return all.stream()
        .filter(method -> nameOf(method).equals(given.asText().toLowerCase(Locale.ROOT)))
        .findFirst()
        .orElseThrow(() -> wrong(key(Keys.METHOD) + " must be one of " + known + ", was " + given));
  }

  private void takeForMethod(String key, JsonNode value) {
    if (MethodParts.take(methodParts, key, value)) {
      return;
    }
    if (method.settings().contains(key)) {
      if (!value.isNull()) {
        methodSettings.set(key, value);
      }
      return;
    }
    for (PeftMethod other : PeftMethods.all()) {
      if (other.settings().contains(key)) {
        throw wrong(
            key + " is a setting of " + nameOf(other) + "; the method is " + nameOf(method));
      }
    }
    Set<String> names = new LinkedHashSet<>(Keys.SPELLINGS.keySet());
    names.addAll(method.settings());
    throw wrong("there is no key '" + key + "'; nearest: " + Nearest.describe(key, names));
  }

  /** The method that is trained. */
  PeftMethod method() {
    return method;
  }

  /** The learning rate that suits it, and all of its parts. */
  double learningRate() {
    return MethodParts.learningRate(methodParts).orElse(method.learningRate());
  }

  /** Its name as users write it. */
  String methodName() {
    return nameOf(method);
  }

  /** Its configuration. */
  PeftConfig methodConfig() {
    try {
      return method.readSettings(methodSettings);
    } catch (InvalidConfigException e) {
      throw wrong(String.valueOf(e.getMessage()));
    }
  }

  /** Whether the file says anything that only a new adapter can follow. */
  boolean hasMethodSettings() {
    Set<String> base = method.baseSettings();
    return methodSettings.properties().stream().anyMatch(entry -> !base.contains(entry.getKey()));
  }

  // --- values -----------------------------------------------------------------------------------

  boolean has(Key key) {
    return values.containsKey(key.name());
  }

  /** A key as the file spells it. */
  String key(Key key) {
    return spelled.getOrDefault(key.name(), key.name());
  }

  InvalidConfigException wrong(Key key, String allowed) {
    return wrong(key(key) + " must be " + allowed + ", was " + values.get(key.name()));
  }

  private @Nullable JsonNode value(Key key) {
    return values.get(key.name());
  }

  boolean flag(Key key, boolean otherwise) {
    JsonNode value = value(key);
    if (value == null) {
      return otherwise;
    }
    if (!value.isBoolean()) {
      throw wrong(key, "true or false");
    }
    return value.booleanValue();
  }

  /** YAML takes 1e-4 for a text; users mean a number. */
  private static @Nullable BigDecimal number(JsonNode value) {
    try {
      return value.isNumber() || value.isTextual() ? new BigDecimal(value.asText().strip()) : null;
    } catch (NumberFormatException e) {
      return null;
    }
  }

  OptionalDouble number(Key key, double least, double most) {
    JsonNode value = value(key);
    if (value == null) {
      return OptionalDouble.empty();
    }
    BigDecimal number = number(value);
    double found = number == null ? Double.NaN : number.doubleValue();
    if (!(found >= least && found <= most)) {
      throw wrong(
          key,
          most == Double.MAX_VALUE
              ? "a number of at least " + plain(least)
              : "a number from " + plain(least) + " to " + plain(most));
    }
    return OptionalDouble.of(found);
  }

  private static String plain(double bound) {
    return BigDecimal.valueOf(bound).stripTrailingZeros().toPlainString();
  }

  OptionalLong integer(Key key, long least, long most) {
    JsonNode value = value(key);
    if (value == null) {
      return OptionalLong.empty();
    }
    BigDecimal number = number(value);
    try {
      long found = number == null ? Long.MIN_VALUE : number.longValueExact();
      if (number != null && found >= least && found <= most) {
        return OptionalLong.of(found);
      }
    } catch (ArithmeticException e) {
      // Not whole, or too large: refused below.
    }
    throw wrong(
        key,
        "an integer "
            + (most == Long.MAX_VALUE || most == Integer.MAX_VALUE
                ? "of at least " + least
                : "from " + least + " to " + most));
  }

  @Nullable String text(Key key) {
    JsonNode value = value(key);
    if (value == null) {
      return null;
    }
    if (!value.isTextual() || value.textValue().isBlank()) {
      throw wrong(key, "a text");
    }
    return value.textValue();
  }

  /** One of some words, whatever their case. */
  String choice(Key key, String otherwise, List<String> allowed) {
    JsonNode value = value(key);
    if (value == null) {
      return otherwise;
    }
    String given = value.asText().toLowerCase(Locale.ROOT);
    // A bare no is false for some readers of YAML, and what they write.
    String word = value.isBoolean() ? (value.booleanValue() ? "yes" : "no") : given;
    if (!value.isValueNode() || !allowed.contains(word)) {
      throw wrong(key, "one of " + String.join(", ", allowed));
    }
    return word;
  }

  /** A text or a list of them; several may stand in one text with commas. */
  List<String> texts(Key key) {
    JsonNode value = value(key);
    if (value == null) {
      return List.of();
    }
    List<String> texts = new ArrayList<>();
    if (value.isTextual()) {
      for (String part : value.textValue().split(",", -1)) {
        texts.add(part.strip());
      }
    } else if (value.isArray()) {
      value.forEach(element -> texts.add(element.isTextual() ? element.textValue() : ""));
    }
    if (texts.isEmpty() || texts.contains("")) {
      throw wrong(key, "a text or a list of texts");
    }
    return texts;
  }

  /** A mapping from words to numbers or words. */
  Map<String, JsonNode> mapping(Key key) {
    JsonNode value = value(key);
    if (value == null) {
      return Map.of();
    }
    if (!value.isObject()) {
      throw wrong(key, "a mapping");
    }
    Map<String, JsonNode> entries = new LinkedHashMap<>();
    value.properties().forEach(entry -> entries.put(entry.getKey(), entry.getValue()));
    return entries;
  }

  /** Whether a value is the word. */
  boolean is(Key key, String word) {
    JsonNode value = value(key);
    return value != null && value.isTextual() && value.textValue().equalsIgnoreCase(word);
  }

  /** Whether a value is true or false. */
  boolean isFlag(Key key) {
    JsonNode value = value(key);
    return value != null && value.isBoolean();
  }
}
