package io.peft4j.target;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.types.Shape;
import io.peft4j.InvalidConfigException;
import io.peft4j.target.MatchProblem.Kind;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;

/**
 * What golden/matching.json cannot show: reasons, problems and what is more lenient or stricter.
 */
final class TargetMatcherTest {
  private static final ModelLayout LLAMA = GoldenMatching.layout("llama");
  private static final ModelLayout BERT = GoldenMatching.layout("bert-classifier");

  private static TargetSelection.Builder names(String... names) {
    return TargetSelection.builder().targets(Targets.names(names));
  }

  private static Matches match(ModelLayout layout, TargetSelection.Builder selection) {
    return TargetMatcher.match(layout, selection.build());
  }

  private static List<String> paths(Matches matches) {
    return matches.layers().stream().map(LayerSpec::path).toList();
  }

  @Test
  void tellsWhyALayerIsAdapted() {
    Matches matches = match(LLAMA, names("v_proj", "1.self_attn.q_proj", "self_attn.v_proj"));
    assertEquals(Optional.of("v_proj"), matches.reason("model.layers.0.self_attn.v_proj"));
    assertEquals(
        Optional.of("1.self_attn.q_proj"), matches.reason("model.layers.1.self_attn.q_proj"));
    assertEquals(Optional.empty(), matches.reason("model.layers.0.self_attn.q_proj"));
    assertSame(matches, matches.requireAll());
    Matches exact = match(LLAMA, names("v_proj", "model.layers.0.self_attn.v_proj"));
    assertEquals(
        Optional.of("model.layers.0.self_attn.v_proj"),
        exact.reason("model.layers.0.self_attn.v_proj"));
    Matches linear = match(LLAMA, TargetSelection.builder().targets(Targets.allLinear()));
    assertEquals(
        Set.of("all-linear"),
        Set.copyOf(linear.adapted().stream().map(Matches.Adapted::entry).toList()));
  }

  @Test
  void layersComeInTheModelsOrder() {
    Matches matches = match(LLAMA, names("v_proj", "q_proj"));
    assertEquals(
        List.of(
            "model.layers.0.self_attn.q_proj",
            "model.layers.0.self_attn.v_proj",
            "model.layers.1.self_attn.q_proj",
            "model.layers.1.self_attn.v_proj"),
        paths(matches));
  }

  @Test
  void tellsWhatIsLeftOutAndWhy() {
    Matches matches =
        match(
            LLAMA,
            names("q_proj", "lm_head")
                .exclude(Targets.names("0.self_attn.q_proj"))
                .modulesToSave(List.of("lm_head")));
    assertEquals(
        List.of(
            new Matches.Excluded(
                "model.layers.0.self_attn.q_proj",
                "q_proj",
                "exclude_modules",
                "0.self_attn.q_proj"),
            new Matches.Excluded("lm_head", "lm_head", "modules_to_save", "lm_head")),
        matches.excluded());
    assertEquals(List.of("lm_head"), matches.modulesToSave());
    assertEquals(
        List.of(), matches.problems(), "an entry whose every match is excluded has matched");
  }

  @Test
  void aTiedOutputIsLeftOutOfAllLinearAndCanBeNamed() {
    ModelLayout.Builder builder = ModelLayout.builder("llama");
    builder.embedding("model.embed_tokens", 10, 4);
    builder.linear("model.layers.0.q_proj", 4, 4, false);
    builder.tiedLinear("lm_head", 4, 10, "model.embed_tokens.weight");
    ModelLayout tied = builder.outputLayer("lm_head").build();
    assertEquals(
        List.of("model.layers.0.q_proj"),
        paths(match(tied, TargetSelection.builder().targets(Targets.allLinear()))));
    assertEquals(List.of("lm_head"), paths(match(tied, names("lm_head"))));
  }

  @Test
  void modulesToSaveNameNothingInsideAnother() {
    Matches matches =
        match(BERT, names("query").modulesToSave(List.of("pooler", "pooler.dense", "dense")));
    assertEquals(7, matches.modulesToSave().size(), () -> matches.modulesToSave().toString());
    assertEquals("bert.pooler", matches.modulesToSave().get(6));
    assertEquals(List.of(), matches.problems(), "the inner ones have matched all the same");
  }

  @Test
  void longListsAreShortenedAsPeftStoresThem() {
    ModelLayout.Builder builder = ModelLayout.builder("llama");
    List<String> full = new ArrayList<>();
    for (int i = 0; i < 10; i++) {
      for (String name : List.of("q", "k", "v")) {
        String path = "model.layers." + i + "." + name;
        builder.linear(path, 4, 4, false);
        if (!name.equals("k")) {
          full.add(path);
        }
      }
    }
    ModelLayout layout = builder.build();
    Matches matches = match(layout, TargetSelection.builder().targets(Targets.names(full)));
    assertEquals(Targets.names("q", "v"), matches.resolvedTargets());
    assertEquals(full.size(), matches.layers().size());
    assertEquals(Optional.of(full.get(3)), matches.reason(full.get(3)));
    List<String> few = full.subList(0, 19);
    Matches unchanged = match(layout, TargetSelection.builder().targets(Targets.names(few)));
    assertEquals(Targets.names(few), unchanged.resolvedTargets());
    // Whole paths are not restricted, the ends that stand for them are.
    List<Integer> third = List.of(3);
    assertEquals(
        19,
        match(
                layout,
                TargetSelection.builder().targets(Targets.names(few)).layersToTransform(third))
            .layers()
            .size());
    assertEquals(
        List.of("model.layers.3.q", "model.layers.3.v"),
        paths(
            match(
                layout,
                TargetSelection.builder().targets(Targets.names(full)).layersToTransform(third))));
  }

  @Test
  void kindsThatAMethodCannotAdaptAreProblems() {
    Matches matches =
        TargetMatcher.match(
            LLAMA, names("embed_tokens", "q_proj").build(), Set.of(LayerKind.LINEAR));
    assertEquals(2, matches.layers().size());
    assertEquals(Kind.UNSUPPORTED, matches.problems().get(0).kind());
    assertEquals(1, matches.problems().size());
  }

  @Test
  void lenientCallersGetTheLayersAndTheProblems() {
    Matches matches = match(LLAMA, names("q_proj", "gone", "norm"));
    assertEquals(2, matches.layers().size());
    assertEquals(
        List.of(Kind.UNMATCHED, Kind.UNSUPPORTED),
        matches.problems().stream().map(MatchProblem::kind).toList());
    assertEquals("gone", matches.problems().get(0).entry());
  }

  @Test
  void headsAddedByTheTaskNeedNotExist() {
    List<String> automatic = List.of("classifier", "score", "qa_outputs");
    assertEquals(List.of(), match(LLAMA, names("q_proj").modulesToSave(automatic)).problems());
    assertEquals(
        1, match(LLAMA, names("q_proj").modulesToSave(List.of("classifier_"))).problems().size());
  }

  @Test
  void patternKeysMayMatchWhatIsExcluded() {
    PatternTable<Integer> ranks = PatternTable.of("rank_pattern", Map.of("q_proj", 4));
    Matches matches =
        match(LLAMA, names("q_proj", "v_proj").exclude(Targets.names("q_proj")).pattern(ranks));
    assertEquals(List.of(), matches.problems());
  }

  @Test
  void findsLayersByTheEndOfAPath() {
    assertEquals(
        List.of("model.embed_tokens"),
        TargetMatcher.layersEndingWith(LLAMA, "trainable_token_indices", "tokens").stream()
            .map(LayerSpec::path)
            .toList());
  }

  @Test
  void refusesSelectionsThatContradictThemselves() {
    refused("layers_to_transform counts layers from 0", names("q").layersToTransform(List.of(-1)));
    refused("needs layers_to_transform", names("q").layersPattern(List.of("h")));
    refused(
        "works only with a list",
        TargetSelection.builder().targets(Targets.allLinear()).layersToTransform(List.of(1)));
    refused(
        "works only with a list",
        TargetSelection.builder().targets(Targets.expression(".*q")).layersPattern(List.of("h")));
    refused("exclude_modules cannot be all-linear", names("q").exclude(Targets.allLinear()));
    refused("modules_to_save holds an empty name", names("q").modulesToSave(List.of("")));
    refused("target_modules is missing", TargetSelection.builder());
  }

  private static void refused(String why, TargetSelection.Builder builder) {
    InvalidConfigException e = assertThrows(InvalidConfigException.class, builder::build);
    assertTrue(e.getMessage().contains(why), e.getMessage());
  }

  @Test
  void aLayoutOfOneUnnamedLayerHasNothingToName() {
    ModelLayout.Builder builder = ModelLayout.builder("djl");
    builder.layer("", LayerKind.LINEAR, new Shape(2, 2), false);
    Matches matches =
        match(builder.build(), TargetSelection.builder().targets(Targets.expression(".*")));
    assertEquals(List.of(), matches.layers());
    assertThrows(InvalidConfigException.class, matches::requireAll);
  }
}
