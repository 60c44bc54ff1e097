package io.peft4j.models.generate;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.models.ConfigValues;
import io.peft4j.state.Json;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;

/**
 * What a model's {@code generation_config.json} says. Where there is no such file, special tokens
 * are those of {@code config.json}, as in transformers.
 */
final class ModelDefaults {
  private static final String END = "eos_token_id";
  private static final String BEGIN = "bos_token_id";

  /** What changes the text and is not implemented, unless it is null, false, 0 or empty. */
  private static final String[] UNKNOWN = {
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "force_words_ids",
    "constraints",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "exponential_decay_length_penalty",
    "suppress_tokens",
    "begin_suppress_tokens",
    "sequence_bias",
    "watermarking_config",
    "renormalize_logits",
    "top_h",
    "epsilon_cutoff",
    "eta_cutoff",
    "diversity_penalty",
    "penalty_alpha",
    "dola_layers",
    "token_healing",
    "max_time"
  };

  /** The same, unless it is 1. */
  private static final String[] UNKNOWN_FACTORS = {
    "typical_p",
    "encoder_repetition_penalty",
    "guidance_scale",
    "num_beam_groups",
    "num_return_sequences"
  };

  private final ObjectNode json;
  private final ConfigValues values;
  private final boolean whole;

  private ModelDefaults(ObjectNode json, String origin, boolean whole) {
    this.json = json;
    this.whole = whole;
    values = new ConfigValues(json, origin);
  }

  static ModelDefaults of(TextEngine model) {
    Path file = model.directory().map(d -> d.resolve("generation_config.json")).orElse(null);
    return file != null && Files.isRegularFile(file)
        ? new ModelDefaults(Json.readObject(file), file.toString(), true)
        : new ModelDefaults(model.config(), "the model's configuration", false);
  }

  /** What ends a text. */
  List<Long> endTokens() {
    JsonNode given = json.path(END);
    if (!given.isArray()) {
      return values.has(END) ? List.of((long) values.token(END, 0)) : List.of();
    }
    List<Long> tokens = new ArrayList<>();
    for (JsonNode token : given) {
      if (!token.isIntegralNumber() || !token.canConvertToInt() || token.intValue() < 0) {
        throw values.wrong(END, "a token or a list of tokens");
      }
      tokens.add(token.longValue());
    }
    return tokens;
  }

  /** What stands for an empty prompt. */
  OptionalInt beginToken() {
    return values.has(BEGIN) ? OptionalInt.of(values.token(BEGIN, 0)) : OptionalInt.empty();
  }

  /** The most tokens that prompt and text have together. */
  OptionalInt maxLength() {
    return size("max_length");
  }

  /** The least tokens that prompt and text have together before an end token. */
  int minLength() {
    return whole ? values.token("min_length", 0) : 0;
  }

  /**
   * The options that the file sets.
   *
   * @throws io.peft4j.InvalidConfigException if one is wrong or not implemented
   */
  GenerationOptions options() {
    GenerationOptionsBuilder options = GenerationOptions.builder();
    if (!whole) {
      return options.build();
    }
    values.refuse(UNKNOWN);
    for (String key : UNKNOWN_FACTORS) {
      if (json.path(key).asDouble(1) != 1) {
        values.refuse(key);
      }
    }
    size("max_new_tokens").ifPresent(options::maxNewTokens);
    if (values.has("min_new_tokens")) {
      options.minNewTokens(values.token("min_new_tokens", 0));
    }
    if (values.has("do_sample")) {
      options.sample(values.flag("do_sample", false));
    }
    if (values.has("temperature")) {
      options.temperature(values.positive("temperature", 1));
    }
    if (values.has("top_k")) {
      options.topK(values.token("top_k", 0));
    }
    if (values.has("top_p")) {
      options.topP(values.fraction("top_p", 1));
    }
    if (values.has("min_p")) {
      options.minP(values.fraction("min_p", 0));
    }
    if (values.has("repetition_penalty")) {
      options.repetitionPenalty(values.positive("repetition_penalty", 1));
    }
    size("num_beams").ifPresent(options::beams);
    if (values.has("length_penalty")) {
      JsonNode penalty = json.get("length_penalty");
      if (!penalty.isNumber()) {
        throw values.wrong("length_penalty", "a number");
      }
      options.lengthPenalty(penalty.doubleValue());
    }
    readStops(options);
    return options.build();
  }

  private OptionalInt size(String key) {
    return whole && values.has(key) ? OptionalInt.of(values.size(key)) : OptionalInt.empty();
  }

  private void readStops(GenerationOptionsBuilder options) {
    if (values.has("early_stopping")) {
      JsonNode given = json.get("early_stopping");
      if (!given.isBoolean() && !"never".equals(given.textValue())) {
        throw values.wrong("early_stopping", "true, false or \"never\"");
      }
      options.earlyStopping(
          given.isTextual()
              ? EarlyStopping.NEVER
              : given.booleanValue() ? EarlyStopping.FIRST : EarlyStopping.HEURISTIC);
    }
    if (values.has("stop_strings")) {
      JsonNode given = json.get("stop_strings");
      List<String> texts = new ArrayList<>();
      for (JsonNode text : given.isTextual() ? List.of(given) : given) {
        if (!text.isTextual()) {
          throw values.wrong("stop_strings", "a string or a list of strings");
        }
        texts.add(text.textValue());
      }
      options.stopStrings(texts);
    }
  }
}
