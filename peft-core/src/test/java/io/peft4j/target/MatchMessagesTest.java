package io.peft4j.target;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.InvalidConfigException;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** The sentences a user reads when a new configuration does not fit the model. */
final class MatchMessagesTest {
  private static final String Q = "model.layers.0.self_attn.q_proj";
  private static final String NEAREST_Q =
      " Nearest: q_proj (as in "
          + Q
          + "), k_proj (as in model.layers.0.self_attn.k_proj),"
          + " v_proj (as in model.layers.0.self_attn.v_proj).";

  private static TargetSelection.Builder names(String... names) {
    return TargetSelection.builder().targets(Targets.names(names));
  }

  private static TargetSelection.Builder expression(String expression) {
    return TargetSelection.builder().targets(Targets.expression(expression));
  }

  private static String message(String tree, TargetSelection.Builder selection) {
    Matches matches = TargetMatcher.match(GoldenMatching.layout(tree), selection.build());
    return assertThrows(InvalidConfigException.class, matches::requireAll).getMessage();
  }

  @Test
  void aNameThatMatchesNothing() {
    assertEquals(
        "target_modules entry 'q_prj' matches no layer of this llama model." + NEAREST_Q,
        message("llama", names("q_prj", "v_proj")));
    assertTrue(message("llama", names("Q_PROJ")).contains("Nearest: q_proj (as in"));
    assertTrue(
        message("llama", names("attn.q_proj")).contains("Nearest: self_attn.q_proj (as in " + Q));
    assertTrue(message("llama", names("base_model.model." + Q)).contains("Nearest: " + Q + ", "));
    assertTrue(
        message("llama", names("mlp.q_proj")).contains("self_attn.q_proj"), "right name elsewhere");
  }

  @Test
  void anExpressionOrAllLinearInsideAList() {
    assertEquals(
        "target_modules entry '.*q_proj' matches no layer of this llama model."
            + NEAREST_Q
            + " In a list an entry is a name, not a regular expression: give an expression alone,"
            + " without a list.",
        message("llama", names(".*q_proj")));
    assertTrue(
        message("llama", names("all-linear"))
            .endsWith(" all-linear has a meaning only alone, not in a list."));
  }

  @Test
  void anExpressionThatMatchesNoWholePath() {
    assertEquals(
        "target_modules expression 'q_proj' matches no path of this llama model. An expression must"
            + " match a whole path, such as "
            + Q
            + "; to select by the end of a path give a list: [\"q_proj\"].",
        message("llama", expression("q_proj")));
    assertEquals(
        "target_modules expression 'self_attn\\.(q|v)_proj' matches no path of this llama model. It"
            + " is found inside "
            + Q
            + ", but must match a path from its start to its end: put .* where more may stand.",
        message("llama", expression("self_attn\\.(q|v)_proj")));
    assertEquals(
        "target_modules expression '.*\\.qproj' matches no path of this llama model. An expression"
            + " must match a whole path."
            + NEAREST_Q,
        message("llama", expression(".*\\.qproj")));
  }

  @Test
  void targetsThatCannotBeAdapted() {
    assertEquals(
        "target_modules entry 'attention' matches bert.encoder.layer.0.attention and 1 more, which"
            + " cannot be adapted: the first is a module of several layers. Name the layers inside"
            + " it, such as query, key, value.",
        message("bert-classifier", names("query", "attention")));
    assertEquals(
        "target_modules entry 'model.norm' matches model.norm, which cannot be adapted: it is a"
            + " layer, but of none of the kinds that can be (linear, linear transposed, embedding,"
            + " conv1d, conv2d). Leave it out, or put it into modules_to_save to train it whole.",
        message("llama", names("model.norm")));
    assertEquals(
        "target_modules expression '.*attn.*' matches model.layers.0.self_attn and 1 more, which"
            + " cannot be adapted: the first is a module of several layers. End the expression with"
            + " names of layers, such as q_proj, k_proj, v_proj.",
        message("llama", expression(".*attn.*")));
  }

  @Test
  void nothingToAdapt() {
    assertEquals(
        "Nothing is left to adapt: every module that target_modules matches is excluded, by"
            + " exclude_modules 'q_proj' (2), modules_to_save 'lm_head' (1). Exclude less or target"
            + " more.",
        message(
            "llama",
            names("q_proj", "lm_head")
                .exclude(Targets.names("q_proj"))
                .modulesToSave(List.of("lm_head"))));
    assertTrue(message("llama", names()).startsWith("target_modules is an empty list"));
    ModelLayout.Builder norms = ModelLayout.builder("djl");
    norms.norm("a.norm", 4, false);
    Matches matches =
        TargetMatcher.match(
            norms.build(), TargetSelection.builder().targets(Targets.allLinear()).build());
    assertTrue(
        assertThrows(InvalidConfigException.class, matches::requireAll)
            .getMessage()
            .startsWith("target_modules all-linear matches nothing: this model has no linear"));
  }

  @Test
  void layerIndexes() {
    assertEquals(
        "layers_to_transform 12 is out of range: the layers of this llama model are 0, 1.",
        message("llama", names("q_proj").layersToTransform(List.of(1, 12))));
    assertEquals(
        "layers_to_transform 3 is out of range: the layers of this model are 0 to 2.",
        message("moe", names("up").layersToTransform(List.of(3)).layersPattern(List.of("layers"))));
    assertEquals(
        "layers_to_transform [1] finds no layers: in this llama model they are numbered right after"
            + " the first name of a path, as in layers.0.self_attn, which needs layers_pattern"
            + " 'layers'.",
        message("llama-headless", names("q_proj").layersToTransform(List.of(1))));
    assertEquals(
        "layers_pattern 'h' matches no numbered layers of this llama model. Its layers are numbered"
            + " under: layers.",
        message(
            "llama",
            names("q_proj").layersToTransform(List.of(1)).layersPattern(List.of("layers", "h"))));
    assertEquals(
        "target_modules entry 'embed_tokens' matches model.embed_tokens, but not in the layers of"
            + " layers_to_transform [1]. Drop one of the two, or name whole paths, which it does"
            + " not restrict.",
        message("llama", names("q_proj", "embed_tokens").layersToTransform(List.of(1))));
  }

  @Test
  void exclusionsAndModulesToSave() {
    assertEquals(
        "exclude_modules entry 'qproj' matches no module of this llama model." + NEAREST_Q,
        message("llama", names("q_proj", "v_proj").exclude(Targets.names("qproj"))));
    assertTrue(
        message("llama", names("q_proj").exclude(Targets.expression("v_proj")))
            .contains("give a list: [\"v_proj\"]"));
    assertTrue(
        message("llama", names("q_proj").modulesToSave(List.of("lmhead")))
            .startsWith(
                "modules_to_save entry 'lmhead' matches no module of this llama model. Nearest:"
                    + " lm_head, "));
    assertEquals(
        "modules_to_save entry 'q' trains not_q whole, but target_modules adapts it."
            + " modules_to_save goes by the mere end of a path: write more of the path there, or"
            + " exclude the layer.",
        message("moe", names("not_q").modulesToSave(List.of("q"))));
  }

  @Test
  void patternKeys() {
    assertEquals(
        "rank_pattern key 'k_proj' matches no adapted layer of this llama model. It matches"
            + " model.layers.0.self_attn.k_proj, which target_modules leaves alone: target it too,"
            + " or drop the key.",
        message(
            "llama",
            names("q_proj").pattern(PatternTable.of("rank_pattern", Map.of("k_proj", 4)))));
    assertEquals(
        "alpha_pattern key 'layers\\.1\\..*qproj' matches no adapted layer of this llama model."
            + " Nearest: layers.1.self_attn.q_proj (as in model.layers.1.self_attn.q_proj),"
            + " layers.0.self_attn.q_proj (as in "
            + Q
            + ").",
        message(
            "llama",
            names("q_proj")
                .pattern(PatternTable.of("alpha_pattern", Map.of("layers\\.1\\..*qproj", 4)))));
  }

  @Test
  void rowsOfAnUnknownLayer() {
    ModelLayout llama = GoldenMatching.layout("llama");
    InvalidConfigException e =
        assertThrows(
            InvalidConfigException.class,
            () -> TargetMatcher.layersEndingWith(llama, "trainable_token_indices", "embed_token"));
    assertTrue(
        e.getMessage()
            .startsWith(
                "trainable_token_indices entry 'embed_token' matches no layer of this llama model."
                    + " Nearest: embed_tokens (as in model.embed_tokens), "),
        e.getMessage());
  }

  @Test
  void severalProblemsAtOnce() {
    String message = message("llama", names("q_prj", "norm", "gone"));
    assertTrue(
        message.startsWith("3 settings do not fit the model:\n- target_modules entry 'q_prj'"));
    assertEquals(4, message.lines().count(), message);
    String[] many = IntStream.range(0, 15).mapToObj(i -> "gone" + i).toArray(String[]::new);
    assertTrue(message("llama", names(many)).endsWith("\n- and 5 more"));
  }
}
