package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.lora.LoraCombination.MajoritySign;
import io.peft4j.lora.LoraCombination.Type;
import io.peft4j.state.Json;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import io.peft4j.target.Targets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** What {@code add_weighted_adapter} of PEFT gives, and the exact sums for cat and svd. */
class CombinationGoldenTest {
  private static final Path COMBINED = GoldenLlama.MULTI.resolve("combined");

  @TestFactory
  Stream<DynamicTest> combinations() {
    List<JsonNode> cases = new ArrayList<>();
    Json.readObject(COMBINED.resolve("cases.json")).get("cases").forEach(cases::add);
    assertTrue(cases.size() > 50, "too few cases");
    return cases.stream().map(c -> dynamicTest(c.get("file").asText(), () -> check(c)));
  }

  private static void check(JsonNode about) {
    try (NDManager manager = NDManager.newBaseManager(null, "PyTorch")) {
      ModelLayout layout = GoldenLlama.layout();
      LoraCombination how = recipe(about);
      List<CombinationSource> sources =
          how.parts().stream()
              .map(part -> GoldenLlama.source(manager, part.adapter(), part.weight()))
              .toList();
      if (about.get("random").booleanValue()) {
        Engine.getEngine("PyTorch").setRandomSeed(0);
        skipWhatPeftDraws(manager, layout, sources, about.get("r").intValue());
      }
      AdapterCombiner.Combined combined = new AdapterCombiner(how, layout, sources).combine();
      checkConfig(about, combined.config(), how.type());
      checkTensors(manager, about, combined);
    }
  }

  private static LoraCombination recipe(JsonNode about) {
    LoraCombination.Builder recipe =
        LoraCombination.builder().type(Type.of(about.get("combination_type").textValue()));
    for (int i = 0; i < about.get("adapters").size(); i++) {
      recipe.adapter(
          about.get("adapters").get(i).textValue(), about.get("weights").get(i).doubleValue());
    }
    if (about.has("density")) {
      recipe.density(about.get("density").doubleValue());
    }
    if (about.has("svd_rank")) {
      recipe.svdRank(about.get("svd_rank").intValue());
    }
    if (about.path("majority_sign_method").asText().equals("frequency")) {
      recipe.majoritySign(MajoritySign.FREQUENCY);
    }
    return recipe.build();
  }

  /** PEFT first makes a new adapter, whose initial values it draws: A twice, B once. */
  private static void skipWhatPeftDraws(
      NDManager manager, ModelLayout layout, List<CombinationSource> sources, int rank) {
    long drawn = 0;
    for (LayerSpec layer : layout.layers()) {
      if (sources.stream().anyMatch(source -> source.layers().containsKey(layer))) {
        drawn += rank * (2 * layer.inFeatures() + layer.outFeatures());
      }
    }
    manager.randomUniform(0, 1, new Shape(drawn));
  }

  private static void checkConfig(JsonNode about, LoraConfig config, Type type) {
    assertEquals(about.get("r").intValue(), config.rank());
    assertEquals(about.get("lora_alpha").doubleValue(), config.alpha());
    assertEquals(!type.isExact() && about.get("use_rslora").booleanValue(), config.useRslora());
    assertTrue(config.rankPattern().isEmpty() && config.alphaPattern().isEmpty());
    Set<String> targets = new TreeSet<>();
    about.get("target_modules").forEach(target -> targets.add(target.textValue()));
    assertEquals(
        targets, new TreeSet<>(((Targets.Names) config.targetModules().orElseThrow()).names()));
  }

  private static void checkTensors(
      NDManager manager, JsonNode about, AdapterCombiner.Combined combined) {
    Map<String, NDArray> expected =
        new TreeMap<>(
            GoldenLlama.tensors(manager, COMBINED.resolve(about.get("file").textValue())));
    expected.remove("output");
    Map<String, NDArray> actual = new TreeMap<>(combined.tensors());
    actual.keySet().removeIf(key -> key.endsWith("base_layer.weight"));
    String first = expected.keySet().iterator().next();
    if (first.startsWith("base_model")) {
      assertEquals(expected.keySet(), actual.keySet());
      expected.forEach(
          (key, tensor) ->
              assertEquals(0, GoldenLlama.maxDifference(tensor, actual.get(key)), 1e-7, key));
      return;
    }
    assertEquals(2 * expected.size(), actual.size());
    expected.forEach(
        (key, tensor) -> {
          String path = key.substring(key.indexOf('.') + 1);
          NDArray delta = GoldenLlama.delta(combined.config(), actual, path);
          NDArray wanted = path.endsWith("embed_tokens") ? tensor.transpose() : tensor;
          double tolerance = 2e-6 * Math.max(1, GoldenLlama.maxMagnitude(wanted));
          assertEquals(0, GoldenLlama.maxDifference(wanted, delta), tolerance, key);
        });
  }
}
