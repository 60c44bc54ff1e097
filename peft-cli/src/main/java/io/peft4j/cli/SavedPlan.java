package io.peft4j.cli;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.peft4j.PeftConfig;
import io.peft4j.hybrid.HybridConfig;
import io.peft4j.lora.LoraConfig;
import io.peft4j.spi.PeftMethods;
import io.peft4j.state.SavedAdapter;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.MatchProblem;
import io.peft4j.target.ModelLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/** What a saved adapter of any method does to a model, read from its tensors' names and shapes. */
final class SavedPlan {
  private final ModelLayout layout;
  private final Map<String, String> effects = new LinkedHashMap<>();
  private final Set<LayerSpec> adapted = new LinkedHashSet<>();
  private final List<String> left = new ArrayList<>();
  private final List<MatchProblem> problems = new ArrayList<>();
  private long inputs;
  private long trainable;
  private long borrowed;

  private SavedPlan(ModelLayout layout) {
    this.layout = layout;
  }

  static AdapterPlan of(ModelLayout layout, Path directory) {
    SavedPlan plan = new SavedPlan(layout);
    String method;
    try (SavedAdapter saved = PeftMethods.of(directory).read(directory);
        NDManager manager = NDManager.newBaseManager("PyTorch")) {
      method = saved.config().peftType();
      if (saved.config() instanceof HybridConfig hybrid) {
        method += " of " + String.join(", ", hybrid.parts().keySet());
        hybrid
            .parts()
            .forEach((name, part) -> plan.part(name + ": ", part, directory.resolve(name)));
      } else {
        plan.tensors("", saved.config(), saved.tensors(manager));
      }
    }
    for (LayerSpec layer : plan.adapted) {
      plan.inputs += layer.kind() == LayerKind.EMBEDDING ? 0 : layer.inFeatures();
    }
    return new AdapterPlan(
        method,
        plan.effects,
        plan.adapted.size(),
        plan.inputs,
        plan.trainable,
        plan.borrowed,
        plan.left,
        plan.problems);
  }

  private void part(String name, PeftConfig config, Path directory) {
    if (config instanceof LoraConfig lora) {
      AdapterPlan plan = new LoraPlan(lora, layout).plan();
      plan.effects()
          .forEach(
              (path, effect) -> {
                effect(path, name + effect);
                layout.layer(path).ifPresent(adapted::add);
              });
      trainable += plan.trainable();
      borrowed += plan.borrowed();
      plan.left().forEach(text -> left.add(name + text));
      problems.addAll(plan.problems());
      return;
    }
    try (SavedAdapter saved = PeftMethods.of(directory).read(directory);
        NDManager manager = NDManager.newBaseManager("PyTorch")) {
      tensors(name, config, saved.tensors(manager));
    }
  }

  private void tensors(String name, PeftConfig config, Map<String, NDArray> tensors) {
    String prefix = PeftMethods.of(config).keyPrefix();
    Map<String, Set<String>> found = new TreeMap<>();
    tensors.forEach(
        (key, array) -> {
          String path = key.startsWith(prefix) ? key.substring(prefix.length()) : key;
          String owner = owner(path);
          String tensor = owner.isEmpty() ? path : path.substring(owner.length() + 1);
          trainable += array.getShape().size();
          found
              .computeIfAbsent(owner, any -> new LinkedHashSet<>())
              .add(tensor + " " + array.getShape());
          layout.layer(owner).ifPresent(adapted::add);
        });
    // What belongs to no layer or parameter has no row to stand in.
    Set<String> shared = found.remove("");
    found.forEach(
        (path, kinds) -> effect(path, name + config.peftType() + " " + String.join(", ", kinds)));
    if (shared != null) {
      shared.forEach(tensor -> left.add(name + tensor + ": is of no layer by itself"));
    }
  }

  /** The layer or parameter of the model that a key begins with; the longest. */
  private String owner(String key) {
    for (int end = key.length(); end > 0; end = key.lastIndexOf('.', end - 1)) {
      String path = key.substring(0, end);
      if (layout.layer(path).isPresent() || layout.parameters().containsKey(path)) {
        return path;
      }
    }
    return "";
  }

  private void effect(String path, String text) {
    effects.merge(path, text, (one, other) -> one + "; " + other);
  }
}
