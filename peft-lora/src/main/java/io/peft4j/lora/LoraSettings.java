package io.peft4j.lora;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * What users write about LoRA in training configurations: PEFT's keys, those of TRL's command line
 * ({@code lora_r}) and LLaMA-Factory's ({@code lora_rank}, {@code lora_target}).
 *
 * <p>Two habits of LLaMA-Factory are kept where its spelling is used: names of layers may stand in
 * one string with commas, {@code all} meaning every linear layer; and alpha is twice {@code
 * lora_rank} if it is not given.
 */
final class LoraSettings {
  private static final String LORA_RANK = "lora_rank";
  private static final Map<String, String> NAMES = names();

  private LoraSettings() {}

  private static Map<String, String> names() {
    Map<String, String> names = new LinkedHashMap<>();
    for (String key :
        new String[] {
          "r",
          "lora_alpha",
          "lora_dropout",
          "target_modules",
          "exclude_modules",
          "modules_to_save",
          "rank_pattern",
          "alpha_pattern",
          "layers_to_transform",
          "layers_pattern",
          "trainable_token_indices",
          "init_lora_weights",
          "bias",
          "lora_bias",
          "use_rslora",
          "use_dora",
          "task_type"
        }) {
      names.put(key, key);
    }
    names.put("lora_r", "r");
    names.put(LORA_RANK, "r");
    names.put("lora_target_modules", "target_modules");
    names.put("lora_target", "target_modules");
    names.put("lora_modules_to_save", "modules_to_save");
    names.put("additional_target", "modules_to_save");
    return names;
  }

  static Set<String> all() {
    return NAMES.keySet();
  }

  static ObjectNode config(ObjectNode settings) {
    ObjectNode config = JsonNodeFactory.instance.objectNode();
    Map<String, String> said = new LinkedHashMap<>();
    settings
        .properties()
        .forEach(
            entry -> {
              String key = NAMES.getOrDefault(entry.getKey(), entry.getKey());
              String before = said.put(key, entry.getKey());
              if (before != null) {
                throw new InvalidConfigException(
                    before + " and " + entry.getKey() + " say the same: give one of them");
              }
              config.set(key, value(entry.getKey(), entry.getValue()));
            });
    JsonNode rank = settings.path(LORA_RANK);
    if (rank.isInt() && !config.has("lora_alpha")) {
      config.put("lora_alpha", 2 * rank.intValue());
    }
    return config;
  }

  private static JsonNode value(String name, JsonNode given) {
    boolean commas = name.equals("lora_target") || name.equals("additional_target");
    if (!commas || !given.isTextual()) {
      return given;
    }
    if (given.textValue().strip().equals("all")) {
      return JsonNodeFactory.instance.textNode("all-linear");
    }
    ArrayNode parts = JsonNodeFactory.instance.arrayNode();
    for (String part : given.textValue().split(",", -1)) {
      parts.add(part.strip());
    }
    return parts;
  }
}
