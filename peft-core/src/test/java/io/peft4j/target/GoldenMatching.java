package io.peft4j.target;

import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads golden/matching.json: module trees, and what PEFT adapts in them for many configurations.
 */
final class GoldenMatching {
  private static final JsonNode ROOT = read();

  private GoldenMatching() {}

  private static JsonNode read() {
    try {
      return new ObjectMapper()
          .readTree(Path.of(System.getProperty("peft4j.golden"), "matching.json").toFile());
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  static JsonNode cases() {
    return ROOT.get("cases");
  }

  static ModelLayout layout(String name) {
    for (JsonNode tree : ROOT.get("trees")) {
      if (tree.get("name").asText().equals(name)) {
        return layout(tree);
      }
    }
    throw new AssertionError("no tree " + name);
  }

  private static ModelLayout layout(JsonNode tree) {
    ModelLayout.Builder builder = ModelLayout.builder(tree.path("model_type").asText("djl"));
    boolean classifier = false;
    for (JsonNode module : tree.get("modules")) {
      String path = module.get("path").asText();
      classifier |= path.equals("classifier");
      if (module.has("weight")) {
        LayerKind kind =
            switch (module.get("kind").asText()) {
              case "linear" -> LayerKind.LINEAR;
              case "conv1d" -> LayerKind.LINEAR_TRANSPOSED;
              case "embedding" -> LayerKind.EMBEDDING;
              case "convolution1d" -> LayerKind.CONV1D;
              default -> LayerKind.OTHER;
            };
        long[] shape = new ObjectMapper().convertValue(module.get("weight"), long[].class);
        builder.layer(path, kind, new Shape(shape), module.get("bias").asBoolean());
      }
    }
    if (!tree.get("output_embeddings").isNull()) {
      builder.outputLayer(tree.get("output_embeddings").asText());
    }
    if (classifier) {
      builder.head("classifier");
    }
    return builder.build();
  }

  /** Does with a LoraConfig what the code above this package does. */
  static TargetSelection selection(JsonNode config, ModelLayout layout) {
    TargetSelection.Builder builder = TargetSelection.builder();
    Targets targets = targets(config.get("target_modules"));
    if (targets == null && !config.hasNonNull("target_modules")) {
      targets =
          switch (layout.modelType()) {
            case "llama" -> Targets.names("q_proj", "v_proj");
            case "bert", "roberta" -> Targets.names("query", "value");
            case "gpt2" -> Targets.names("c_attn");
            default -> null;
          };
    }
    builder.targets(targets);
    Targets exclude = targets(config.get("exclude_modules"));
    if (exclude != null) {
      builder.exclude(exclude);
    }
    List<Integer> layers = new ArrayList<>();
    list(config.get("layers_to_transform")).forEach(node -> layers.add(node.asInt()));
    builder.layersToTransform(layers);
    builder.layersPattern(texts(config.get("layers_pattern")));
    List<String> saved = texts(config.get("modules_to_save"));
    String task = config.path("task_type").asText("");
    if (task.equals("SEQ_CLS") || task.equals("TOKEN_CLS")) {
      saved.addAll(List.of("classifier", "score"));
    }
    builder.modulesToSave(saved).sequenceClassification(task.equals("SEQ_CLS"));
    builder.pattern(table(config, "rank_pattern")).pattern(table(config, "alpha_pattern"));
    return builder.build();
  }

  static PatternTable<Integer> table(JsonNode config, String field) {
    Map<String, Integer> entries = new LinkedHashMap<>();
    config.path(field).properties().forEach(e -> entries.put(e.getKey(), e.getValue().asInt()));
    return PatternTable.of(field, entries);
  }

  private static Targets targets(JsonNode node) {
    if (node == null || node.isNull()) {
      return null;
    }
    return node.isTextual() ? Targets.parse(node.asText()) : Targets.names(texts(node));
  }

  static List<String> texts(JsonNode node) {
    List<String> texts = new ArrayList<>();
    list(node).forEach(item -> texts.add(item.asText()));
    return texts;
  }

  private static Iterable<JsonNode> list(JsonNode node) {
    if (node == null || node.isNull()) {
      return List.of();
    }
    return node.isArray() ? node : List.of(node);
  }
}
