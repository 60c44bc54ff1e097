package io.peft4j.lora;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterStateException;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.spi.AttachContext;
import io.peft4j.spi.SavedModules;
import io.peft4j.spi.SavedTensors;
import io.peft4j.state.PeftDirectory;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.MatchProblem;
import io.peft4j.target.Matches;
import io.peft4j.target.ModelLayout;
import io.peft4j.target.TargetMatcher;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A saved adapter. Its tensors decide which layers are adapted: each must find its layer, and each
 * layer the configuration selects must find its tensors. What the configuration names and the model
 * lacks becomes a note.
 */
final class LoraLoading {
  private final AttachContext context;
  private final AdapterBuilder adapter;
  private final LoraConfig config;
  private final ModelLayout layout;
  private final LoraAssembly assembly;

  private final SavedTensors tensors;
  private final Set<String> adaptedBiases = new HashSet<>();

  LoraLoading(AttachContext context, AdapterBuilder adapter) {
    this.context = context;
    this.adapter = adapter;
    layout = context.layout();
    config = asSaved(context.config(LoraConfig.class));
    assembly = new LoraAssembly(context, adapter, config);
    tensors = new SavedTensors(context, PeftDirectory.PREFIX);
  }

  /** An adapter that began with a part of the base is saved as plain LoRA of twice the rank. */
  private LoraConfig asSaved(LoraConfig given) {
    if (given.initialization().takesFromBase()) {
      Map<String, NDArray> saved = context.saved().orElseThrow();
      for (LayerSpec layer : layout.layers()) {
        NDArray a = saved.get(LoraAssembly.keyA(layer));
        if (a != null
            && a.getShape().dimension() > 0
            && a.getShape().get(0) == 2L * given.rank(layer.path())) {
          return LoraConversion.doubled(given);
        }
      }
    }
    return given;
  }

  void run() {
    Matches matches = TargetMatcher.match(layout, LoraTargets.selection(config, layout));
    matches.problems().stream().map(MatchProblem::message).forEach(adapter::note);
    Map<String, String> reasons = new LinkedHashMap<>();
    matches
        .adapted()
        .forEach(match -> reasons.put(match.layer().path(), "target_modules " + match.entry()));
    for (LayerSpec layer : layout.layers()) {
      lowRank(layer, reasons.get(layer.path()));
    }
    tokens();
    copies(SavedModules.parameters(context, matches.modulesToSave()));
    tensors.finish();
    assembly.finish(config);
  }

  private @Nullable NDArray take(String key, Shape shape) {
    return tensors.take(key, shape);
  }

  private void lowRank(LayerSpec layer, @Nullable String reason) {
    String keyA = strip(LoraAssembly.keyA(layer));
    String keyB = strip(LoraAssembly.keyB(layer));
    NDArray firstA = tensors.peek(keyA);
    NDArray firstB = tensors.peek(keyB);
    if (firstA == null || firstB == null) {
      if (reason != null || firstA != null || firstB != null) {
        tensors.problem("missing " + tensors.named(firstA == null ? keyA : keyB));
        tensors.drop(keyA);
        tensors.drop(keyB);
      }
      return;
    }
    long rank = firstA.getShape().dimension() == 0 ? 0 : firstA.getShape().get(0);
    if (rank < 1) {
      tensors.problem(
          tensors.named(keyA) + " has shape " + firstA.getShape() + ", which holds no rank");
      tensors.drop(keyA);
      tensors.drop(keyB);
      return;
    }
    NDArray a = take(keyA, FactorShapes.a(layer, rank));
    NDArray b = take(keyB, FactorShapes.b(layer, rank));
    NDArray bias = take(layer.path() + ".lora_B.bias", new Shape(layer.outFeatures()));
    NDArray magnitude =
        take(layer.path() + ".lora_magnitude_vector", FactorShapes.magnitude(layer));
    if (a == null || b == null) {
      return;
    }
    if (config.loraBias() != (bias != null)) {
      tensors.problem(
          (config.loraBias() ? "missing " : "lora_bias is false, but there is ")
              + tensors.named(layer.path() + ".lora_B.bias"));
    }
    if (rank != config.rank(layer.path())) {
      tensors.problem(
          tensors.named(keyA) + " has rank " + rank + " where r is " + config.rank(layer.path()));
    }
    if (config.useDora() != (magnitude != null)) {
      tensors.problem(
          (config.useDora() ? "missing " : "use_dora is false, but there is ")
              + tensors.named(layer.path() + ".lora_magnitude_vector"));
      return;
    }
    adaptedBiases.add(layer.biasName());
    assembly.lowRank(
        layer,
        reason == null ? "its tensors" : reason,
        new Factors(a, b),
        begun(layer, (int) rank),
        bias,
        magnitude);
  }

  /**
   * What the base gives up to an adapter that PEFT saved without converting it: computed again from
   * the base, where that has one answer.
   */
  private @Nullable Factors begun(LayerSpec layer, int rank) {
    LoraInitialization init = config.initialization();
    if (!init.takesFromBase() || !layer.kind().isLinear()) {
      return null;
    }
    if (init.iterations() > 0) {
      throw new AdapterStateException(
          "init_lora_weights "
              + config.toJson().get("init_lora_weights")
              + " took a random part of the base, which cannot be computed again: convert the"
              + " adapter when saving it in Python, with path_initial_model_for_weight_conversion");
    }
    return LoraInitializer.initialize(
        init,
        layer,
        context.weight(layer),
        rank,
        config.scaling(layer.path(), rank),
        context.manager());
  }

  private void tokens() {
    Map<LayerSpec, List<Integer>> rows = LoraResolution.tokenLayers(config, layout);
    rows.forEach(
        (layer, tokens) -> {
          String key = layer.path() + ".token_adapter.trainable_tokens_delta";
          NDArray delta = take(key, new Shape(tokens.size(), layer.weight().get(1)));
          if (delta == null) {
            tensors.problem("missing " + tensors.named(key));
            return;
          }
          if (tokens.stream().anyMatch(token -> token >= layer.weight().get(0))) {
            tensors.problem(
                "trainable_token_indices "
                    + tokens
                    + " go beyond the "
                    + layer.weight().get(0)
                    + " rows of "
                    + layer.path());
            return;
          }
          List<LayerSpec> tied =
              LoraAssembly.tiedTo(layout, layer).stream()
                  .filter(other -> !rows.containsKey(other))
                  .toList();
          assembly.tokenRows(layer, tokens, delta, tied, "trainable_token_indices");
        });
  }

  private void copies(Map<String, String> heads) {
    for (String name : layout.parameterNames()) {
      Shape shape = context.parameter(name).shape();
      String module = heads.get(name);
      if (module != null && name.endsWith("bias")) {
        again(name, module, shape);
      }
      boolean adapted = adaptedBiases.contains(name);
      String key = adapted ? name.substring(0, name.length() - 4) + "base_layer.bias" : name;
      if (tensors.peek(key) != null) {
        NDArray values = take(key, shape);
        if (values != null && (module != null || trains(name, adapted))) {
          assembly.copy(name, key, values, module == null);
        } else if (values != null) {
          keep(name, key, values);
        }
      } else if (module != null || trainsBias(name, adapted)) {
        tensors.problem("missing " + tensors.named(key));
      }
      savedBaseWeight(name, shape);
    }
  }

  private boolean trainsBias(String name, boolean adapted) {
    return name.endsWith("bias")
        && (config.bias() == LoraBias.ALL || (config.bias() == LoraBias.LORA_ONLY && adapted));
  }

  /** With all biases trained PEFT's file has those of a saved head three times. */
  private void again(String name, String module, Shape shape) {
    String rest = name.substring(module.length());
    String copies = module + ".modules_to_save";
    for (String key : tensors.keys()) {
      // Inside a head of several layers PEFT leaves the adapter's name in the key.
      if (key.startsWith(copies)
          && key.endsWith(rest)
          && key.substring(copies.length(), key.length() - rest.length()).lastIndexOf('.') <= 0
          && take(key, shape) != null) {
        assembly.saveAgain(name, key);
      }
    }
    if (take(module + ".original_module" + rest, shape) != null) {
      assembly.saveFromBase(name, module + ".original_module" + rest);
    }
  }

  /** PEFT saves the base weight of targeted embeddings, in case the vocabulary was enlarged. */
  private void savedBaseWeight(String name, Shape shape) {
    if (!name.endsWith(".weight")) {
      return;
    }
    String key = name.substring(0, name.length() - 6) + "base_layer.weight";
    NDArray values = take(key, shape);
    if (values != null) {
      keep(name, key, values);
    }
  }

  private boolean trains(String bias, boolean adapted) {
    return bias.endsWith("bias")
        && (config.bias() == LoraBias.ALL || (config.bias() == LoraBias.LORA_ONLY && adapted));
  }

  /** A parameter that the file brings and the configuration does not train. */
  private void keep(String name, String key, NDArray values) {
    if (values.contentEquals(context.parameter(name).dense())) {
      assembly.saveFromBase(name, key);
    } else {
      assembly.frozenCopy(name, key, values);
      adapter.note(key + " differs from the base model's own weight and is used in its place");
    }
  }

  private static String strip(String key) {
    return key.substring(PeftDirectory.PREFIX.length());
  }
}
