package io.peft4j.lora;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.TaskType;
import io.peft4j.target.PatternTable;
import io.peft4j.target.Targets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Reads the values of {@code adapter_config.json}, each with one clear error. */
final class LoraKeys {
  /** The version whose files are written. */
  static final String PEFT_VERSION = "0.21.2";

  /** Keys that name what is not implemented if they hold anything but null, false or nothing. */
  private static final Set<String> UNIMPLEMENTED =
      Set.of(
          "alora_invocation_tokens",
          "arrow_config",
          "corda_config",
          "ensure_weight_tying",
          "eva_config",
          "kasa_config",
          "layer_replication",
          "loftq_config",
          "lora_ga_config",
          "megatron_config",
          "monteclora_config",
          "target_parameters",
          "use_bdlora",
          "use_qalora",
          "velora_config");

  /** Keys that are understood, or that change nothing here and are only kept. */
  private static final Set<String> KNOWN =
      Set.of(
          "alpha_pattern",
          "auto_mapping",
          "base_model_name_or_path",
          "bias",
          "exclude_modules",
          "fan_in_fan_out",
          "inference_mode",
          "init_lora_weights",
          "layers_pattern",
          "layers_to_transform",
          "lora_alpha",
          "lora_bias",
          "lora_dropout",
          "megatron_core",
          "modules_to_save",
          "peft_type",
          "peft_version",
          "qalora_group_size",
          "r",
          "rank_pattern",
          "revision",
          "target_modules",
          "task_type",
          "trainable_token_indices",
          "use_dora",
          "use_rslora");

  private final ObjectNode json;

  LoraKeys(ObjectNode json) {
    this.json = json;
  }

  static ObjectNode defaults() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    for (String key : UNIMPLEMENTED) {
      json.putNull(key);
    }
    json.put("ensure_weight_tying", false);
    json.put("use_qalora", false);
    json.putObject("loftq_config");
    for (String key :
        new String[] {
          "auto_mapping",
          "base_model_name_or_path",
          "exclude_modules",
          "layers_pattern",
          "layers_to_transform",
          "modules_to_save",
          "revision",
          "target_modules",
          "task_type",
          "trainable_token_indices"
        }) {
      json.putNull(key);
    }
    json.putObject("alpha_pattern");
    json.put("bias", "none");
    json.put("fan_in_fan_out", false);
    json.put("inference_mode", false);
    json.put("init_lora_weights", true);
    putNumber(json, "lora_alpha", LoraConfig.DEFAULT_ALPHA);
    json.put("lora_bias", false);
    json.put("lora_dropout", 0.0);
    json.put("megatron_core", "megatron.core");
    json.put("peft_type", LoraMethod.NAME);
    json.put("peft_version", PEFT_VERSION);
    json.put("qalora_group_size", 16);
    json.put("r", LoraConfig.DEFAULT_RANK);
    json.putObject("rank_pattern");
    json.put("use_dora", false);
    json.put("use_rslora", false);
    return json;
  }

  /** Whole numbers are written as such, as Python writes an int. */
  static void putNumber(ObjectNode json, String key, double value) {
    if (value == Math.rint(value) && Math.abs(value) < 1L << 53) {
      json.put(key, (long) value);
    } else {
      json.put(key, value);
    }
  }

  JsonNode value(String key) {
    JsonNode value = json.get(key);
    return value == null ? JsonNodeFactory.instance.nullNode() : value;
  }

  private InvalidConfigException wrong(String key, String allowed) {
    return new InvalidConfigException(key + " must be " + allowed + ", was " + value(key));
  }

  boolean flag(String key) {
    JsonNode value = value(key);
    if (!value.isBoolean() && !value.isNull()) {
      throw wrong(key, "true or false");
    }
    return value.booleanValue();
  }

  int positiveInteger(String key) {
    JsonNode value = value(key);
    if (!value.isIntegralNumber() || !value.canConvertToInt() || value.intValue() < 1) {
      throw wrong(key, "an integer of at least 1");
    }
    return value.intValue();
  }

  double positiveNumber(String key) {
    return positiveNumber(key, value(key));
  }

  private double positiveNumber(String key, JsonNode value) {
    if (!value.isNumber() || !(value.doubleValue() > 0) || Double.isInfinite(value.doubleValue())) {
      throw new InvalidConfigException(key + " must be a finite number above 0, was " + value);
    }
    return value.doubleValue();
  }

  double fraction(String key) {
    JsonNode value = value(key);
    if (!value.isNumber() || !(value.doubleValue() >= 0) || !(value.doubleValue() < 1)) {
      throw wrong(key, "a number in [0, 1)");
    }
    return value.doubleValue();
  }

  List<String> strings(String key) {
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
    // PEFT repeats the names of heads each time it loads and saves.
    return strings.stream().distinct().toList();
  }

  List<Integer> integers(String key) {
    JsonNode value = value(key);
    return value.isNull() ? List.of() : integers(key, value);
  }

  private static List<Integer> integers(String key, JsonNode value) {
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

  @Nullable Targets targets(String key) {
    JsonNode value = value(key);
    if (value.isNull()) {
      return null;
    }
    return value.isTextual() ? Targets.parse(value.textValue()) : Targets.names(strings(key));
  }

  PatternTable<Integer> rankPattern() {
    Map<String, Integer> ranks = new LinkedHashMap<>();
    object("rank_pattern")
        .properties()
        .forEach(
            entry -> {
              JsonNode value = entry.getValue();
              if (!value.isIntegralNumber() || !value.canConvertToInt() || value.intValue() < 1) {
                throw new InvalidConfigException(
                    "rank_pattern '"
                        + entry.getKey()
                        + "' must be an integer of at least 1, was "
                        + value);
              }
              ranks.put(entry.getKey(), value.intValue());
            });
    return PatternTable.of("rank_pattern", ranks);
  }

  PatternTable<Double> alphaPattern() {
    Map<String, Double> alphas = new LinkedHashMap<>();
    object("alpha_pattern")
        .properties()
        .forEach(
            entry ->
                alphas.put(
                    entry.getKey(),
                    positiveNumber("alpha_pattern '" + entry.getKey() + "'", entry.getValue())));
    return PatternTable.of("alpha_pattern", alphas);
  }

  private JsonNode object(String key) {
    JsonNode value = value(key);
    if (!value.isObject() && !value.isNull()) {
      throw wrong(key, "an object");
    }
    return value;
  }

  LoraBias bias() {
    for (LoraBias bias : LoraBias.values()) {
      if (value("bias").isTextual() && bias.key().equals(value("bias").textValue())) {
        return bias;
      }
    }
    throw wrong("bias", "one of \"none\", \"all\", \"lora_only\"");
  }

  @Nullable TaskType taskType() {
    JsonNode value = value("task_type");
    if (value.isNull()) {
      return null;
    }
    for (TaskType type : TaskType.values()) {
      if (value.isTextual() && type.name().equals(value.textValue())) {
        return type;
      }
    }
    throw wrong("task_type", "null or one of " + Arrays.toString(TaskType.values()));
  }

  Map<String, List<Integer>> tokenIndices() {
    String key = "trainable_token_indices";
    JsonNode value = value(key);
    Map<String, List<Integer>> indices = new LinkedHashMap<>();
    if (value.isObject()) {
      value
          .properties()
          .forEach(
              entry ->
                  indices.put(
                      entry.getKey(),
                      integers(key + " '" + entry.getKey() + "'", entry.getValue())));
    } else if (!value.isNull()) {
      indices.put("", integers(key, value));
    }
    indices.forEach(
        (path, rows) -> {
          if (rows.isEmpty() || rows.stream().distinct().count() != rows.size()) {
            throw wrong(key, "a list, or lists by layer, of different token ids");
          }
        });
    return Collections.unmodifiableMap(indices);
  }

  void refuseUnimplemented() {
    json.properties()
        .forEach(
            entry -> {
              String key = entry.getKey();
              if (KNOWN.contains(key) || isNothing(entry.getValue())) {
                return;
              }
              throw new InvalidConfigException(
                  UNIMPLEMENTED.contains(key)
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
