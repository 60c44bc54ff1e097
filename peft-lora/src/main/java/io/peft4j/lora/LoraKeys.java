package io.peft4j.lora;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.spi.ConfigKeys;
import io.peft4j.target.PatternTable;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** The keys of {@code adapter_config.json} that are LoRA's own. */
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

  private final ConfigKeys keys;

  LoraKeys(ConfigKeys keys) {
    this.keys = keys;
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
    ConfigKeys.putNumber(json, "lora_alpha", LoraConfig.DEFAULT_ALPHA);
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

  PatternTable<Integer> rankPattern() {
    Map<String, Integer> ranks = new LinkedHashMap<>();
    keys.object("rank_pattern")
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
    keys.object("alpha_pattern")
        .properties()
        .forEach(
            entry ->
                alphas.put(
                    entry.getKey(),
                    positiveNumber("alpha_pattern '" + entry.getKey() + "'", entry.getValue())));
    return PatternTable.of("alpha_pattern", alphas);
  }

  private static double positiveNumber(String key, JsonNode value) {
    if (!value.isNumber() || !(value.doubleValue() > 0) || Double.isInfinite(value.doubleValue())) {
      throw new InvalidConfigException(key + " must be a finite number above 0, was " + value);
    }
    return value.doubleValue();
  }

  LoraBias bias() {
    for (LoraBias bias : LoraBias.values()) {
      if (keys.value("bias").isTextual() && bias.key().equals(keys.value("bias").textValue())) {
        return bias;
      }
    }
    throw keys.wrong("bias", "one of \"none\", \"all\", \"lora_only\"");
  }

  Map<String, List<Integer>> tokenIndices() {
    String key = "trainable_token_indices";
    JsonNode value = keys.value(key);
    Map<String, List<Integer>> indices = new LinkedHashMap<>();
    if (value.isObject()) {
      value
          .properties()
          .forEach(
              entry ->
                  indices.put(
                      entry.getKey(),
                      ConfigKeys.integers(key + " '" + entry.getKey() + "'", entry.getValue())));
    } else if (!value.isNull()) {
      indices.put("", ConfigKeys.integers(key, value));
    }
    indices.forEach(
        (path, rows) -> {
          if (rows.isEmpty() || rows.stream().distinct().count() != rows.size()) {
            throw keys.wrong(key, "a list, or lists by layer, of different token ids");
          }
        });
    return Collections.unmodifiableMap(indices);
  }

  void refuseUnimplemented() {
    keys.refuseOthers(KNOWN, UNIMPLEMENTED);
  }
}
