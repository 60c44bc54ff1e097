package io.peft4j.models.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.Tokenizer;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * Every family gives the tokens of transformers, beyond windows and beyond the length where angles
 * change.
 */
final class FamilyGenerationTest {

  @TestFactory
  List<DynamicTest> greedyAndBeamSearchGiveTheTokensOfTransformers() {
    TreeMap<String, List<JsonNode>> families = new TreeMap<>();
    for (JsonNode each : Cases.families("cases")) {
      families.computeIfAbsent(each.path("model").asText(), n -> new ArrayList<>()).add(each);
    }
    assertEquals(9, families.size(), families.keySet().toString());
    return families.entrySet().stream()
        .map(e -> DynamicTest.dynamicTest(e.getKey(), () -> check(e.getKey(), e.getValue())))
        .toList();
  }

  private static void check(String name, List<JsonNode> cases) {
    try (PretrainedModel model = Cases.model(name);
        Tokenizer tokenizer = Cases.tokenizer()) {
      Generator generator = Generator.of(model, tokenizer);
      for (JsonNode each : cases) {
        GenerationOptions options = Cases.options(each.path("options")).build();
        List<GenerationResult> results =
            generator.generate(Cases.rows(each.path("prompts")), options);
        List<long[]> expected = Cases.rows(each.path("tokens"));
        assertTrue(!expected.isEmpty() && expected.size() == results.size());
        for (int i = 0; i < results.size(); i++) {
          String what = each.path("options") + " row " + i;
          assertArrayEquals(expected.get(i), results.get(i).tokens(), what);
        }
      }
    }
  }
}
