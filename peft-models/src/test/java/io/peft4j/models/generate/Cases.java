package io.peft4j.models.generate;

import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.Tokenizer;
import io.peft4j.state.Json;
import io.peft4j.torch.Precision;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** The golden cases of text generation. */
final class Cases {
  private static final Path GOLDEN = Path.of(System.getProperty("peft4j.golden"));

  private Cases() {}

  static Path directory(String model) {
    return GOLDEN.resolve("models").resolve(model);
  }

  static PretrainedModel model(String name) {
    return PretrainedModel.load(
        directory(name), LoadOptions.builder().precision(Precision.FLOAT32).build());
  }

  static Tokenizer tokenizer() {
    return Tokenizer.load(GOLDEN.resolve("generation").resolve("tokenizer"));
  }

  static JsonNode all(String kind) {
    return read("cases.json", kind);
  }

  static JsonNode families(String kind) {
    return read("families.json", kind);
  }

  private static JsonNode read(String file, String kind) {
    JsonNode cases = Json.readObject(GOLDEN.resolve("generation").resolve(file)).path(kind);
    if (cases.isEmpty()) {
      throw new IllegalStateException("no cases of kind " + kind);
    }
    return cases;
  }

  static long[] tokens(JsonNode list) {
    long[] tokens = new long[list.size()];
    for (int i = 0; i < tokens.length; i++) {
      tokens[i] = list.get(i).longValue();
    }
    return tokens;
  }

  static List<long[]> rows(JsonNode lists) {
    List<long[]> rows = new ArrayList<>();
    lists.forEach(list -> rows.add(tokens(list)));
    return rows;
  }

  /** Options by the names of transformers. */
  static GenerationOptionsBuilder options(JsonNode given) {
    GenerationOptionsBuilder options = GenerationOptions.builder();
    given
        .properties()
        .forEach(
            entry -> {
              JsonNode value = entry.getValue();
              switch (entry.getKey()) {
                case "max_new_tokens" -> options.maxNewTokens(value.intValue());
                case "min_new_tokens" -> options.minNewTokens(value.intValue());
                case "eos_token_id" ->
                    options.endTokens(
                        value.isArray() ? tokens(value) : new long[] {value.longValue()});
                case "repetition_penalty" -> options.repetitionPenalty(value.doubleValue());
                case "num_beams" -> options.beams(value.intValue());
                case "length_penalty" -> options.lengthPenalty(value.doubleValue());
                case "early_stopping" ->
                    options.earlyStopping(
                        value.isTextual()
                            ? EarlyStopping.NEVER
                            : value.booleanValue() ? EarlyStopping.FIRST : EarlyStopping.HEURISTIC);
                case "stop_strings" -> {
                  List<String> texts = new ArrayList<>();
                  value.forEach(text -> texts.add(text.textValue()));
                  options.stopStrings(texts);
                }
                case "temperature" -> options.temperature(value.doubleValue());
                case "top_k" -> options.topK(value.intValue());
                case "top_p" -> options.topP(value.doubleValue());
                case "min_p" -> options.minP(value.doubleValue());
                default -> throw new IllegalStateException("option " + entry.getKey());
              }
            });
    return options;
  }
}
