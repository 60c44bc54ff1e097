package io.peft4j.hybrid;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.AdapterSet;
import io.peft4j.InvalidConfigException;
import io.peft4j.spi.PeftMethod;
import io.peft4j.spi.PeftMethods;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/**
 * What a file says of a part, checked as far as the part's own method does not have to.
 *
 * @param name the part
 * @param method its method
 * @param config its keys; empty where they are in a file of their own
 */
record PartEntry(String name, PeftMethod method, ObjectNode config) {
  private static final Set<String> KEYS =
      Set.of(HybridConfig.TYPE_KEY, HybridConfig.VERSION_KEY, HybridConfig.PARTS_KEY);

  /** The entries of a hybrid's keys, with configurations or without. */
  static List<PartEntry> all(ObjectNode json, boolean configs) {
    refuseOthers(json, KEYS, "a hybrid");
    JsonNode type = json.path(HybridConfig.TYPE_KEY);
    if (!type.asText().equals(HybridConfig.NAME)) {
      throw wrong(HybridConfig.TYPE_KEY, "\"" + HybridConfig.NAME + "\"", type);
    }
    JsonNode version = json.path(HybridConfig.VERSION_KEY);
    if (!version.isIntegralNumber() || version.longValue() != HybridConfig.VERSION) {
      throw wrong(HybridConfig.VERSION_KEY, String.valueOf(HybridConfig.VERSION), version);
    }
    JsonNode parts = json.path(HybridConfig.PARTS_KEY);
    if (!parts.isArray() || parts.isEmpty() || parts.size() > HybridConfig.MAX_PARTS) {
      throw new InvalidConfigException(
          HybridConfig.PARTS_KEY
              + " must be a list of 1 to "
              + HybridConfig.MAX_PARTS
              + " objects, was "
              + (parts.isArray() ? "one of " + parts.size() : parts));
    }
    List<PartEntry> entries = new ArrayList<>();
    for (JsonNode part : parts) {
      entries.add(of(part, configs));
    }
    return entries;
  }

  private static PartEntry of(JsonNode part, boolean configs) {
    Set<String> keys =
        configs
            ? Set.of(HybridConfig.NAME_KEY, HybridConfig.TYPE_KEY, HybridConfig.CONFIG_KEY)
            : Set.of(HybridConfig.NAME_KEY, HybridConfig.TYPE_KEY);
    if (!part.isObject()) {
      throw wrong("each of " + HybridConfig.PARTS_KEY, "an object", part);
    }
    refuseOthers(part, keys, "a part");
    JsonNode name = part.path(HybridConfig.NAME_KEY);
    JsonNode type = part.path(HybridConfig.TYPE_KEY);
    if (!name.isTextual() || !type.isTextual()) {
      throw wrong(
          "each of " + HybridConfig.PARTS_KEY,
          "an object with the texts " + HybridConfig.NAME_KEY + " and " + HybridConfig.TYPE_KEY,
          part);
    }
    JsonNode config = part.path(HybridConfig.CONFIG_KEY);
    if (configs && !config.isObject()) {
      throw wrong(HybridConfig.CONFIG_KEY + " of part " + name, "an object", config);
    }
    if (type.textValue().equals(HybridConfig.NAME)) {
      throw new InvalidConfigException("part " + name + " is a hybrid itself, which cannot be");
    }
    return new PartEntry(
        AdapterSet.checkName(name.textValue()),
        PeftMethods.named(type.textValue()),
        config instanceof ObjectNode object ? object : JsonNodeFactory.instance.objectNode());
  }

  private static void refuseOthers(JsonNode json, Set<String> known, String what) {
    json.fieldNames()
        .forEachRemaining(
            key -> {
              if (!known.contains(key)) {
                throw new InvalidConfigException(
                    what + " has no key '" + key + "'; its keys are " + new TreeSet<>(known));
              }
            });
  }

  private static InvalidConfigException wrong(String key, String allowed, JsonNode given) {
    return new InvalidConfigException(
        key
            + " must be "
            + allowed
            + ", "
            + (given.isMissingNode() ? "is missing" : "was " + given));
  }
}
