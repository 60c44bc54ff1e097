package io.peft4j.cli.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.spi.PeftMethod;
import io.peft4j.spi.PeftMethods;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * A list of methods, which is a hybrid: each is a name, or a mapping with {@code method}, perhaps
 * {@code name}, and settings of its own. A setting beside the list is for every method of it that
 * has such a setting and does not say it itself.
 */
final class MethodParts {
  /** The method that lists are for, and the setting that it takes them by. */
  static final String METHOD = "HYBRID";

  static final String KEY = "parts";
  private static final String NAME = "method";

  private MethodParts() {}

  static List<ObjectNode> of(JsonNode list) {
    List<ObjectNode> parts = new ArrayList<>();
    for (JsonNode entry : list) {
      ObjectNode part = JsonNodeFactory.instance.objectNode();
      if (entry instanceof ObjectNode mapping) {
        part = mapping.deepCopy();
      } else {
        part.set(NAME, entry);
      }
      parts.add(part);
    }
    return parts;
  }

  /** Gives a setting to the parts that have it; tells whether there are any. */
  static boolean take(List<ObjectNode> parts, String key, JsonNode value) {
    boolean taken = false;
    for (ObjectNode part : parts) {
      if (method(part).filter(found -> found.settings().contains(key)).isPresent()) {
        taken = true;
        if (!part.has(key) && !value.isNull()) {
          part.set(key, value);
        }
      }
    }
    return taken;
  }

  /** The least of the parts' own rates; none if there are no parts. */
  static OptionalDouble learningRate(List<ObjectNode> parts) {
    return parts.stream()
        .flatMap(part -> method(part).stream())
        .mapToDouble(PeftMethod::learningRate)
        .min();
  }

  private static Optional<PeftMethod> method(ObjectNode part) {
    String wanted = part.path(NAME).asText().toLowerCase(Locale.ROOT);
    return PeftMethods.all().stream()
        .filter(method -> method.name().toLowerCase(Locale.ROOT).equals(wanted))
        .findFirst();
  }
}
