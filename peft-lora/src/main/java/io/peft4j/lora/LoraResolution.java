package io.peft4j.lora;

import io.peft4j.InvalidConfigException;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.Matches;
import io.peft4j.target.ModelLayout;
import io.peft4j.target.PatternTable;
import io.peft4j.target.TargetMatcher;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** What PEFT fills into a configuration when it attaches it to a model. */
final class LoraResolution {
  private LoraResolution() {}

  static LoraConfig resolve(
      LoraConfig config, Matches matches, ModelLayout layout, AdapterBuilder adapter) {
    boolean transposed =
        matches.layers().stream().anyMatch(layer -> layer.kind() == LayerKind.LINEAR_TRANSPOSED);
    boolean straight =
        matches.layers().stream().anyMatch(layer -> layer.kind() == LayerKind.LINEAR);
    boolean fanInFanOut = transposed || (config.fanInFanOut() && !straight);
    if (config.fanInFanOut() && straight) {
      adapter.note(
          "fan_in_fan_out is true, but the adapted layers of this "
              + layout.modelType()
              + " model store their weights as [out, in]: it is taken as false");
    }
    return config.toBuilder()
        .targetModules(matches.resolvedTargets())
        .modulesToSave(LoraTargets.modulesToSave(config))
        .fanInFanOut(fanInFanOut)
        .rankPattern(inAnyOrder(config.rankPattern(), matches.layers()))
        .alphaPattern(inAnyOrder(config.alphaPattern(), matches.layers()))
        .build();
  }

  /**
   * Patterns that say the same when a file has their keys sorted: as given, or by whole path where
   * the order decides.
   */
  private static <V> Map<String, V> inAnyOrder(PatternTable<V> given, List<LayerSpec> layers) {
    PatternTable<V> sorted = PatternTable.of(given.field(), new TreeMap<>(given.entries()));
    Map<String, V> byPath = new LinkedHashMap<>();
    boolean same = true;
    for (LayerSpec layer : layers) {
      Optional<V> value = given.find(layer.path());
      same &= value.equals(sorted.find(layer.path()));
      value.ifPresent(found -> byPath.put(layer.path(), found));
    }
    return same ? given.entries() : byPath;
  }

  /** The layers of {@code trainable_token_indices} and their rows. */
  static Map<LayerSpec, List<Integer>> tokenLayers(LoraConfig config, ModelLayout layout) {
    Map<LayerSpec, List<Integer>> rows = new LinkedHashMap<>();
    config
        .trainableTokenIndices()
        .forEach(
            (name, tokens) -> {
              List<LayerSpec> layers =
                  name.isEmpty()
                      ? List.of(inputEmbedding(layout))
                      : TargetMatcher.layersEndingWith(layout, "trainable_token_indices", name);
              for (LayerSpec layer : layers) {
                if (layer.kind() != LayerKind.EMBEDDING && layer.kind() != LayerKind.LINEAR) {
                  throw new InvalidConfigException(
                      "trainable_token_indices: " + layer.path() + " is not an embedding");
                }
                rows.put(layer, tokens);
              }
            });
    return rows;
  }

  private static LayerSpec inputEmbedding(ModelLayout layout) {
    return layout.layers().stream()
        .filter(layer -> layer.kind() == LayerKind.EMBEDDING)
        .findFirst()
        .orElseThrow(
            () ->
                new InvalidConfigException(
                    "trainable_token_indices: the model has no input embedding"));
  }
}
