package io.peft4j.cli;

import ai.djl.ndarray.types.Shape;
import io.peft4j.InvalidConfigException;
import io.peft4j.lora.Lora;
import io.peft4j.lora.LoraBias;
import io.peft4j.lora.LoraConfig;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.Matches;
import io.peft4j.target.ModelLayout;
import io.peft4j.target.TargetMatcher;
import io.peft4j.target.Targets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/** What a LoRA configuration would do to a model, counted as Hugging Face PEFT counts. */
final class LoraPlan {
  private final LoraConfig config;
  private final ModelLayout layout;
  private final Map<String, List<String>> effects = new LinkedHashMap<>();
  private long inputs;
  private long trainable;
  private long borrowed;

  LoraPlan(LoraConfig config, ModelLayout layout) {
    this.config = config;
    this.layout = layout;
  }

  AdapterPlan plan() {
    Matches matches = TargetMatcher.match(layout, Lora.selection(config, layout));
    matches.adapted().forEach(match -> lowRank(match.layer(), match.entry()));
    tokens();
    Set<String> saved = saved(matches);
    biases(matches, saved);
    List<String> left =
        matches.excluded().stream()
            .map(
                module ->
                    module.path()
                        + ": targeted by '"
                        + module.entry()
                        + "', left out by "
                        + module.field()
                        + " '"
                        + module.exclusion()
                        + "'")
            .toList();
    Map<String, String> joined = new LinkedHashMap<>();
    effects.forEach((path, texts) -> joined.put(path, String.join(", ", texts)));
    return new AdapterPlan(
        config.peftType(),
        joined,
        matches.adapted().size(),
        inputs,
        trainable,
        borrowed,
        left,
        matches.problems());
  }

  private void lowRank(LayerSpec layer, String entry) {
    long rank = config.rank(layer.path());
    long out = layer.outFeatures();
    // A convolution's A has a kernel; a linear layer's or an embedding's is one value an input.
    long in = layer.weight().size() / out;
    trainable += rank * (in + out);
    if (config.useDora()) {
      trainable += out;
    }
    if (config.loraBias()) {
      trainable += out;
    }
    if (layer.kind() != LayerKind.EMBEDDING) {
      inputs += layer.inFeatures() + rank;
    }
    String targets =
        config.targetModules().orElse(null) instanceof Targets.Expression
            ? "target_modules expression"
            : "target_modules " + entry;
    effect(
        layer.path(),
        String.format(
            Locale.ROOT,
            "%s r=%d scaling=%s%s (%s)",
            config.useDora() ? "DoRA" : "LoRA",
            rank,
            Numbers.format(config.scaling(layer.path())),
            config.loraBias() ? " with bias" : "",
            targets));
  }

  private void tokens() {
    config
        .trainableTokenIndices()
        .forEach(
            (name, tokens) -> {
              List<LayerSpec> layers =
                  name.isEmpty()
                      ? layout.layers().stream()
                          .filter(layer -> layer.kind() == LayerKind.EMBEDDING)
                          .limit(1)
                          .toList()
                      : TargetMatcher.layersEndingWith(layout, "trainable_token_indices", name);
              for (LayerSpec layer : layers) {
                Shape weight = layer.weight();
                trainable += tokens.size() * weight.get(1);
                effect(layer.path(), tokens.size() + " rows (trainable_token_indices)");
              }
            });
  }

  private Set<String> saved(Matches matches) {
    Set<String> saved = new LinkedHashSet<>();
    for (String module : matches.modulesToSave()) {
      for (String name : layout.parameterNames()) {
        if (name.startsWith(module + ".") && saved.add(name)) {
          trainable += shape(name).size();
          String owner = owner(name);
          String text = "trained whole (modules_to_save)";
          if (!effects.getOrDefault(owner, List.of()).contains(text)) {
            effect(owner, text);
          }
        }
      }
    }
    return saved;
  }

  private void biases(Matches matches, Set<String> saved) {
    Set<String> adapted = new LinkedHashSet<>();
    matches.layers().forEach(layer -> adapted.add(layer.biasName()));
    layout
        .parameters()
        .forEach(
            (name, shape) -> {
              boolean wanted =
                  config.bias() == LoraBias.ALL
                      || (config.bias() == LoraBias.LORA_ONLY && adapted.contains(name));
              if (wanted && name.endsWith("bias") && !saved.contains(name)) {
                trainable += shape.size();
                borrowed += shape.size();
                effect(owner(name), "bias trained (bias " + config.bias().key() + ")");
              }
            });
  }

  private Shape shape(String name) {
    Shape own = layout.parameters().get(name);
    Shape shape = own == null ? layout.parameters().get(layout.tied().get(name)) : own;
    if (shape == null) {
      throw new InvalidConfigException("the model has no parameter " + name);
    }
    return shape;
  }

  /** The layer that a parameter belongs to, else the parameter. */
  private String owner(String parameter) {
    int dot = parameter.lastIndexOf('.');
    String path = dot < 0 ? parameter : parameter.substring(0, dot);
    return layout.layer(path).isPresent() ? path : parameter;
  }

  private void effect(String path, String text) {
    effects.computeIfAbsent(path, key -> new ArrayList<>()).add(text);
  }
}
