package io.peft4j.lora;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.peft4j.InvalidConfigException;
import io.peft4j.Peft;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.spi.AttachContext;
import io.peft4j.spi.SavedModules;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.Matches;
import io.peft4j.target.ModelLayout;
import io.peft4j.target.TargetMatcher;
import io.peft4j.target.Targets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/** A new adapter. */
final class LoraCreation {
  private final AttachContext context;
  private final AdapterBuilder adapter;
  private final LoraConfig config;
  private final ModelLayout layout;
  private final LoraAssembly assembly;

  LoraCreation(AttachContext context, AdapterBuilder adapter) {
    this.context = context;
    this.adapter = adapter;
    config = context.config(LoraConfig.class);
    layout = context.layout();
    assembly = new LoraAssembly(context, adapter, config);
  }

  void run() {
    Matches matches =
        TargetMatcher.match(layout, LoraTargets.selection(config, layout)).requireAll();
    for (Matches.Adapted match : matches.adapted()) {
      lowRank(match.layer(), "target_modules " + match.entry());
    }
    tokens(matches);
    SavedModules.attach(context, adapter, matches.modulesToSave(), null);
    biases(matches);
    LoraConfig resolved = LoraResolution.resolve(config, matches, layout, adapter);
    assembly.saveTargetedEmbeddings(
        matches.layers(),
        resolved.targetModules().orElseThrow() instanceof Targets.Names names
            ? names.names()
            : matches.layers().stream().map(LoraCreation::leaf).toList());
    assembly.finish(resolved);
  }

  private static String leaf(LayerSpec layer) {
    return layer.path().substring(layer.path().lastIndexOf('.') + 1);
  }

  private void lowRank(LayerSpec layer, String reason) {
    boolean embedding = layer.kind() == LayerKind.EMBEDDING;
    if (embedding && config.loraBias()) {
      throw new InvalidConfigException(
          "lora_bias cannot be used with the embedding " + layer.path());
    }
    LoraInitialization init = config.initialization();
    int rank = config.rank(layer.path());
    Factors factors =
        LoraInitializer.initialize(
            init,
            layer,
            context.weight(layer),
            rank,
            config.scaling(layer.path()),
            context.manager());
    boolean begins = init.takesFromBase() && layer.kind().isLinear();
    Factors initial =
        begins ? new Factors(context.own(factors.a()), context.own(factors.b())) : null;
    NDArray bias =
        config.loraBias()
            ? LoraInitializer.bias(init, layer.outFeatures(), rank, context.manager())
            : null;
    NDArray magnitude = config.useDora() ? context.manager().create(new Shape(0)) : null;
    assembly.lowRank(layer, reason, factors, initial, bias, magnitude);
  }

  private void tokens(Matches matches) {
    Map<LayerSpec, List<Integer>> rows = LoraResolution.tokenLayers(config, layout);
    rows.forEach(
        (layer, tokens) -> {
          if (matches.layers().contains(layer)) {
            throw new InvalidConfigException(
                layer.path()
                    + " is named by target_modules and by trainable_token_indices: choose one");
          }
          long count = layer.weight().get(0);
          for (int token : tokens) {
            if (token >= count) {
              throw new InvalidConfigException(
                  "trainable_token_indices: "
                      + layer.path()
                      + " has "
                      + count
                      + " rows, there is no row "
                      + token);
            }
          }
          long[] index = tokens.stream().mapToLong(Integer::longValue).toArray();
          try (NDArray indexes = context.manager().create(index)) {
            NDArray own = TokenRows.select(context.weight(layer).dense(), indexes);
            List<LayerSpec> tied =
                LoraAssembly.tiedTo(layout, layer).stream()
                    .filter(other -> !rows.containsKey(other))
                    .toList();
            assembly.tokenRows(layer, tokens, own, tied, "trainable_token_indices");
          }
        });
  }

  private NDArray copyOf(String parameter) {
    return context.own(context.parameter(parameter).dense());
  }

  private void biases(Matches matches) {
    Set<String> adapted =
        matches.layers().stream().map(LayerSpec::biasName).collect(Collectors.toSet());
    Map<String, String> saved = SavedModules.parameters(context, matches.modulesToSave());
    for (String name : new ArrayList<>(layout.parameters().keySet())) {
      boolean isAdapted = adapted.contains(name);
      if (config.bias() == LoraBias.NONE
          || !name.endsWith("bias")
          || (config.bias() == LoraBias.LORA_ONLY && !isAdapted)) {
        continue;
      }
      String module = saved.get(name);
      if (module == null) {
        String key = isAdapted ? name.substring(0, name.length() - 4) + "base_layer.bias" : name;
        assembly.copy(name, key, copyOf(name), true);
      } else {
        // PEFT's file has such a bias three times: the copy twice, and the base's own. Inside a
        // head
        // of several layers the adapter's name stays in the key.
        String rest = name.substring(module.length());
        String adapterName = rest.lastIndexOf('.') > 0 ? "." + Peft.DEFAULT_ADAPTER : "";
        assembly.saveAgain(name, module + ".modules_to_save" + adapterName + rest);
        assembly.saveFromBase(name, module + ".original_module" + rest);
      }
    }
  }
}
