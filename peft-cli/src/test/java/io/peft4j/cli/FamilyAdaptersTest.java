package io.peft4j.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.Tokenizer;
import io.peft4j.models.generate.GenerationOptions;
import io.peft4j.models.generate.GenerationResult;
import io.peft4j.models.generate.Generator;
import io.peft4j.state.Json;
import io.peft4j.torch.Precision;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;

/** With an adapter, every family gives the tokens of transformers with PEFT. */
final class FamilyAdaptersTest {
  private static final Path GENERATION = Cli.GOLDEN.resolve("generation");

  @Test
  void greedyAndBeamSearchGiveTheTokensOfTransformers() {
    JsonNode cases = Json.readObject(GENERATION.resolve("families.json")).path("adapted");
    TreeSet<String> families = new TreeSet<>();
    LoadOptions options = LoadOptions.builder().precision(Precision.FLOAT32).build();
    for (JsonNode each : cases) {
      String name = each.path("model").textValue();
      String adapter = each.path("adapter").textValue();
      families.add(name);
      try (PretrainedModel base =
              PretrainedModel.load(Cli.GOLDEN.resolve("models").resolve(name), options);
          PeftModel model = Peft.load(base, Cli.GOLDEN.resolve("adapters").resolve(adapter));
          Tokenizer tokenizer = Tokenizer.load(GENERATION.resolve("tokenizer"))) {
        JsonNode given = each.path("options");
        List<GenerationResult> results =
            Generator.of(model, tokenizer)
                .generate(
                    rows(each.path("prompts")),
                    GenerationOptions.builder()
                        .maxNewTokens(given.path("max_new_tokens").intValue())
                        .beams(given.path("num_beams").asInt(1))
                        .build());
        List<long[]> expected = rows(each.path("tokens"));
        assertTrue(expected.size() > 1 && expected.size() == results.size());
        for (int i = 0; i < results.size(); i++) {
          assertArrayEquals(expected.get(i), results.get(i).tokens(), adapter + " " + given);
        }
      }
    }
    assertTrue(families.size() >= 6, families.toString());
  }

  private static List<long[]> rows(JsonNode lists) {
    List<long[]> rows = new ArrayList<>();
    for (JsonNode list : lists) {
      rows.add(
          StreamSupport.stream(list.spliterator(), false).mapToLong(JsonNode::longValue).toArray());
    }
    return rows;
  }
}
