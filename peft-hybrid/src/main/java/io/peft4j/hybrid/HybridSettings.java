package io.peft4j.hybrid;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.spi.PeftMethod;
import io.peft4j.spi.PeftMethods;
import io.peft4j.target.Nearest;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;

/**
 * Hybrids in training configurations: {@code parts} is a list of objects with {@code method}, one
 * of the methods on the class path, perhaps {@code name}, which is the method's if it is missing,
 * and that method's own settings.
 */
final class HybridSettings {
  static final String PARTS = "parts";
  private static final String METHOD = "method";
  private static final String NAME = "name";

  private HybridSettings() {}

  static HybridConfig read(ObjectNode settings) {
    JsonNode parts = settings.path(PARTS);
    if (!parts.isArray() || parts.isEmpty()) {
      throw new InvalidConfigException(
          PARTS + " must be a list of at least one part, was " + parts);
    }
    HybridConfig.Builder hybrid = HybridConfig.builder();
    for (JsonNode part : parts) {
      add(hybrid, part);
    }
    return hybrid.build();
  }

  private static void add(HybridConfig.Builder hybrid, JsonNode part) {
    if (!(part instanceof ObjectNode object)) {
      throw new InvalidConfigException(
          "a part must be an object with " + METHOD + " and its settings, was " + part);
    }
    ObjectNode own = object.deepCopy();
    JsonNode given = own.remove(METHOD);
    PeftMethod method = method(given);
    JsonNode name = own.remove(NAME);
    String word = method.name().toLowerCase(Locale.ROOT);
    if (name != null && !name.isTextual()) {
      throw new InvalidConfigException("the name of a part must be a text, was " + name);
    }
    Set<String> known = method.settings();
    own.fieldNames()
        .forEachRemaining(
            key -> {
              if (!known.contains(key)) {
                throw new InvalidConfigException(
                    word
                        + " has no setting '"
                        + key
                        + "'; nearest: "
                        + Nearest.describe(key, new TreeSet<>(known)));
              }
            });
    hybrid.part(name == null ? word : name.textValue(), method.readSettings(own));
  }

  private static PeftMethod method(JsonNode given) {
    List<PeftMethod> all =
        PeftMethods.all().stream()
            .filter(method -> !(method instanceof HybridMethod) && !method.trainsBase())
            .toList();
    String wanted = given == null ? "" : given.asText().toLowerCase(Locale.ROOT);
    return all.stream()
        .filter(method -> method.name().toLowerCase(Locale.ROOT).equals(wanted))
        .findFirst()
        .orElseThrow(
            () ->
                new InvalidConfigException(
                    "the method of a part must be one of "
                        + all.stream()
                            .map(method -> method.name().toLowerCase(Locale.ROOT))
                            .sorted()
                            .collect(Collectors.joining(", "))
                        + ", was "
                        + given));
  }
}
