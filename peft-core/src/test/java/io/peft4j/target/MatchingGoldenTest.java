package io.peft4j.target;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.target.MatchProblem.Kind;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** PEFT's own choice of layers, for every case of golden/matching.json. */
final class MatchingGoldenTest {
  // Errors of a LoraConfig that have nothing to do with matching.
  private static final List<String> OTHER_ERRORS =
      List.of("r", "lora_bias", "bias", "init_lora_weights");

  @TestFactory
  Stream<DynamicTest> matchesAsPeftDoes() {
    List<DynamicTest> tests = new ArrayList<>();
    for (JsonNode golden : GoldenMatching.cases()) {
      String name = golden.get("tree").asText() + " " + golden.get("config");
      tests.add(DynamicTest.dynamicTest(name, () -> check(golden)));
    }
    return tests.stream();
  }

  @Test
  void goldenFileIsWorthIt() {
    int adapted = 0;
    int errors = 0;
    for (JsonNode golden : GoldenMatching.cases()) {
      if (golden.has("error")) {
        errors++;
      } else {
        adapted += golden.get("adapted").size();
      }
    }
    assertTrue(adapted > 400 && errors > 30, adapted + " layers, " + errors + " errors");
  }

  private static void check(JsonNode golden) {
    ModelLayout layout = GoldenMatching.layout(golden.get("tree").asText());
    JsonNode config = golden.get("config");
    if (golden.has("error")) {
      checkError(golden, layout, config);
      return;
    }
    Matches matches = TargetMatcher.match(layout, GoldenMatching.selection(config, layout));
    JsonNode adapted = golden.get("adapted");
    Set<String> expected = new LinkedHashSet<>();
    adapted.fieldNames().forEachRemaining(expected::add);
    assertEquals(expected, paths(matches));
    assertEquals(
        GoldenMatching.texts(golden.get("saved")).stream().map(MatchingGoldenTest::bare).toList(),
        matches.modulesToSave());
    Object targets = matches.resolvedTargets().jsonValue();
    assertEquals(
        golden.get("target_modules").isTextual()
            ? golden.get("target_modules").asText()
            : new TreeSet<>(GoldenMatching.texts(golden.get("target_modules"))),
        targets instanceof List<?> list ? new TreeSet<Object>(list) : targets);
    PatternTable<Integer> ranks = GoldenMatching.table(config, "rank_pattern");
    PatternTable<Integer> alphas = GoldenMatching.table(config, "alpha_pattern");
    for (LayerSpec layer : matches.layers()) {
      JsonNode values = adapted.get(layer.path());
      int rank = config.path("r").asInt(8);
      assertEquals(values.get("r").asInt(), ranks.valueFor(layer.path(), rank), layer.path());
      assertEquals(values.get("alpha").asInt(), alphas.valueFor(layer.path(), 8), layer.path());
    }
    checkTokens(golden, layout);
  }

  // A layer that is trained whole and by rows is wrapped twice in PEFT.
  private static String bare(String path) {
    return path.replace(".token_adapter.base_layer", "");
  }

  private static void checkTokens(JsonNode golden, ModelLayout layout) {
    JsonNode tokens = golden.get("config").path("trainable_token_indices");
    Set<String> found = new LinkedHashSet<>();
    if (tokens.isArray()) {
      found.addAll(ending(layout, "embed_tokens"));
    } else {
      tokens.fieldNames().forEachRemaining(name -> found.addAll(ending(layout, name)));
    }
    assertEquals(new LinkedHashSet<>(GoldenMatching.texts(golden.get("tokens"))), found);
  }

  private static List<String> ending(ModelLayout layout, String name) {
    return TargetMatcher.layersEndingWith(layout, "trainable_token_indices", name).stream()
        .map(LayerSpec::path)
        .toList();
  }

  private static void checkError(JsonNode golden, ModelLayout layout, JsonNode config) {
    String message = golden.get("message").asText();
    if (message.startsWith("Target module ")) {
      Matches matches = TargetMatcher.match(layout, GoldenMatching.selection(config, layout));
      assertTrue(has(matches, Kind.UNSUPPORTED), "unsupported");
      assertThrows(InvalidConfigException.class, matches::requireAll);
    } else if (golden.get("error").asText().equals("NoMatchingPeftModuleError")) {
      if (config.path("target_modules").asText("-").isEmpty()
          && config.get("target_modules").isTextual()) {
        assertThrows(InvalidConfigException.class, () -> GoldenMatching.selection(config, layout));
        return;
      }
      Matches matches = TargetMatcher.match(layout, GoldenMatching.selection(config, layout));
      assertEquals(Set.of(), paths(matches));
      assertThrows(InvalidConfigException.class, matches::requireAll);
    } else if (message.contains("layers_") || message.contains("Please specify `target_modules`")) {
      assertThrows(InvalidConfigException.class, () -> GoldenMatching.selection(config, layout));
    } else if (message.contains("modules_to_save cannot be applied")) {
      if (message.contains("lora")) {
        Matches matches = TargetMatcher.match(layout, GoldenMatching.selection(config, layout));
        assertTrue(has(matches, Kind.CONFLICT), "conflict");
        assertThrows(InvalidConfigException.class, matches::requireAll);
      }
      // Else a ModuleDict, which PEFT cannot copy: a layout does not know it from other containers.
    } else if (config.has("trainable_token_indices")) {
      boolean unknown = config.get("trainable_token_indices").has("no_such_layer");
      if (unknown) {
        assertThrows(InvalidConfigException.class, () -> ending(layout, "no_such_layer"));
      }
      // Else rows and whole layers at once, which is not about matching.
    } else {
      boolean other = OTHER_ERRORS.stream().anyMatch(config::has) || hasZero(config);
      assertTrue(other, message);
    }
  }

  private static boolean hasZero(JsonNode config) {
    for (JsonNode rank : config.path("rank_pattern")) {
      if (rank.asInt() == 0) {
        return true;
      }
    }
    return false;
  }

  private static boolean has(Matches matches, Kind kind) {
    return matches.problems().stream().anyMatch(problem -> problem.kind() == kind);
  }

  private static Set<String> paths(Matches matches) {
    Set<String> paths = new LinkedHashSet<>();
    matches.layers().forEach(layer -> paths.add(layer.path()));
    assertFalse(paths.size() < matches.layers().size(), "a layer twice");
    return paths;
  }
}
