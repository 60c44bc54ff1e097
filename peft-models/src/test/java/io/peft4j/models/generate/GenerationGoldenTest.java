package io.peft4j.models.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.models.CausalDecoder;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.Tokenizer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Token for token what transformers generates. */
final class GenerationGoldenTest {
  private static final Map<String, PretrainedModel> MODELS = new HashMap<>();
  private static Tokenizer tokenizer;

  @BeforeAll
  static void load() {
    tokenizer = Cases.tokenizer();
    for (String name : new String[] {"llama", "llama-tied"}) {
      MODELS.put(name, Cases.model(name));
    }
  }

  @AfterAll
  static void close() {
    MODELS.values().forEach(PretrainedModel::close);
    tokenizer.close();
  }

  @TestFactory
  List<DynamicTest> greedyAndBeamSearchGiveTheTokensOfTransformers() {
    List<DynamicTest> tests = new ArrayList<>();
    for (String kind : new String[] {"cases", "stops"}) {
      for (JsonNode each : Cases.all(kind)) {
        String name = each.path("model").asText() + " " + each.path("options");
        tests.add(DynamicTest.dynamicTest(name, () -> check(each)));
      }
    }
    return tests;
  }

  private static void check(JsonNode each) {
    Generator generator = Generator.of(MODELS.get(each.path("model").asText()), tokenizer);
    GenerationOptions options = Cases.options(each.path("options")).build();
    List<GenerationResult> results = generator.generate(Cases.rows(each.path("prompts")), options);
    List<long[]> expected = Cases.rows(each.path("tokens"));
    assertEquals(expected.size(), results.size());
    for (int i = 0; i < results.size(); i++) {
      GenerationResult result = results.get(i);
      assertArrayEquals(expected.get(i), result.tokens(), "row " + i);
      for (String stop : options.stopStrings().orElse(List.of())) {
        assertTrue(!result.text().contains(stop), stop + " is in " + result.text());
      }
    }
  }

  /** A row by itself gives what it gives in a batch, where it is padded. */
  @Test
  void rowsOfABatchAreIndependent() {
    for (JsonNode each : Cases.all("cases")) {
      Generator generator = Generator.of(MODELS.get(each.path("model").asText()), tokenizer);
      GenerationOptions options = Cases.options(each.path("options")).build();
      List<long[]> prompts = Cases.rows(each.path("prompts"));
      List<GenerationResult> together = generator.generate(prompts, options);
      long[] last = prompts.get(prompts.size() - 1);
      assertEquals(
          together.get(together.size() - 1), generator.generate(List.of(last), options).get(0));
    }
  }

  @Test
  void processorsGiveTheProbabilitiesOfTransformers() {
    for (JsonNode each : Cases.all("distributions")) {
      GenerationOptions options = Cases.options(each.path("options")).sample(true).build();
      long[] prompt = Cases.tokens(each.path("prompt"));
      PretrainedModel model = MODELS.get("llama");
      Settings settings =
          Settings.of(options, ModelDefaults.of(ModelEngine.of(model)), prompt.length);
      double[] probabilities;
      try (CausalDecoder decoder = CausalDecoder.start(model, List.of(prompt), 1, 1)) {
        float[] scores = new float[decoder.vocabulary()];
        decoder.logits(0, scores);
        new ScoreRules(settings, scores.length).apply(scores, prompt, prompt.length, 0);
        Candidates candidates = new Candidates(settings, scores.length);
        candidates.take(scores);
        probabilities = candidates.probabilities();
      }
      JsonNode expected = each.path("probabilities");
      int positive = 0;
      for (int i = 0; i < probabilities.length; i++) {
        String what = each.path("options") + " token " + i;
        positive += probabilities[i] > 0 ? 1 : 0;
        assertEquals(expected.path(String.valueOf(i)).asDouble(0), probabilities[i], 2e-6, what);
      }
      assertEquals(expected.size(), positive, each.path("options").toString());
    }
  }

  @Test
  void stopStringsEndWhereTransformersEnds() {
    int ends = 0;
    for (JsonNode each : Cases.all("stop_checks")) {
      List<String> stops = new ArrayList<>();
      each.path("stops").forEach(stop -> stops.add(stop.textValue()));
      long[] tokens = Cases.tokens(each.path("tokens"));
      boolean found = new StopStrings(stops, tokenizer).look(tokens, tokens.length).stops();
      assertEquals(each.path("ends").booleanValue(), found, each.toString());
      ends += found ? 1 : 0;
    }
    assertTrue(ends > 20, "hardly any of the checks end");
  }
}
