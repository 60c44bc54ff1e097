package io.peft4j.lora;

import ai.djl.ndarray.NDArray;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import io.peft4j.target.TargetMatcher;
import io.peft4j.target.Targets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** Combines adapters in their saved form into a configuration and tensors. */
final class AdapterCombiner {
  private static final String SPECIAL = "\\.[]{}()*+-?^$|&#~ ";

  private final LoraCombination how;
  private final ModelLayout layout;
  private final List<CombinationSource> sources;
  private final FactorCombiner combiner;

  AdapterCombiner(LoraCombination how, ModelLayout layout, List<CombinationSource> sources) {
    this.how = how;
    this.layout = layout;
    this.sources = sources;
    combiner = new FactorCombiner(how);
  }

  /**
   * An adapter before it is added.
   *
   * @param config its configuration
   * @param tensors state key to float32 array
   */
  record Combined(LoraConfig config, Map<String, NDArray> tensors) {}

  Combined combine() {
    int rank = combiner.rank(sources.stream().map(CombinationSource::rank).toList());
    if (!combiner.type().isOnDelta() && combiner.type() != LoraCombination.Type.CAT) {
      checkRanks();
    }
    Map<String, NDArray> tensors = copies();
    List<LayerSpec> adapted = new ArrayList<>();
    for (LayerSpec layer : layout.layers()) {
      List<WeightedFactors> terms = new ArrayList<>();
      for (CombinationSource source : sources) {
        WeightedFactors factors = source.layers().get(layer);
        if (factors != null) {
          terms.add(factors);
        }
      }
      if (!terms.isEmpty()) {
        adapted.add(layer);
        boolean flipped =
            layer.kind() == LayerKind.EMBEDDING || layer.kind() == LayerKind.LINEAR_TRANSPOSED;
        Factors factors = combiner.combine(terms, rank, flipped);
        tensors.put(
            LoraAssembly.keyA(layer),
            factors.a().reshape(FactorShapes.a(layer, factors.a().getShape().get(0))));
        tensors.put(
            LoraAssembly.keyB(layer),
            factors.b().reshape(FactorShapes.b(layer, factors.b().getShape().get(1))));
      }
    }
    return new Combined(config(rank, adapted), tensors);
  }

  private void checkRanks() {
    CombinationSource first = sources.get(0);
    for (CombinationSource other : sources) {
      boolean same = first.rank() == other.rank();
      String at = "";
      for (LayerSpec layer : layout.layers()) {
        WeightedFactors mine = first.layers().get(layer);
        WeightedFactors others = other.layers().get(layer);
        if (same && mine != null && others != null && mine.rank() != others.rank()) {
          same = false;
          at = " at " + layer.path();
        }
      }
      if (!same) {
        throw new InvalidConfigException(
            "combination type "
                + how.type().key()
                + " needs adapters of one rank, but '"
                + first.name()
                + "' and '"
                + other.name()
                + "' differ"
                + at
                + "; cat, svd and the other types that end in svd combine any ranks");
      }
    }
  }

  /** Modules that an adapter has trained whole go over as they are, if only one brings them. */
  private Map<String, NDArray> copies() {
    Map<String, NDArray> copies = new LinkedHashMap<>();
    Map<String, String> owners = new LinkedHashMap<>();
    for (CombinationSource source : sources) {
      source
          .copies()
          .forEach(
              (key, tensor) -> {
                NDArray other = copies.putIfAbsent(key, tensor);
                String owner = owners.putIfAbsent(key, source.name());
                if (other == null || owner == null || owner.equals(source.name())) {
                  return;
                }
                boolean ofBase = CombinationSource.isBaseWeight(key);
                if (!ofBase || !other.contentEquals(tensor)) {
                  throw new InvalidConfigException(
                      "adapters '"
                          + owner
                          + "' and '"
                          + source.name()
                          + "' both bring "
                          + key
                          + (ofBase
                              ? ", and they differ"
                              : " (modules_to_save), and whole modules cannot be combined"));
                }
              });
    }
    return copies;
  }

  private LoraConfig config(int rank, List<LayerSpec> adapted) {
    ObjectNode json = sources.get(0).config().toJson();
    json.put("r", rank);
    json.put("lora_alpha", rank);
    json.putObject("rank_pattern");
    json.putObject("alpha_pattern");
    if (combiner.type().isExact()) {
      json.put("use_rslora", false);
    }
    if (sources.get(0).config().initialization().takesFromBase()) {
      json.put("init_lora_weights", true);
    }
    Set<String> saved = new LinkedHashSet<>();
    sources.forEach(source -> saved.addAll(source.config().modulesToSave()));
    if (!saved.isEmpty()) {
      strings(json.putArray("modules_to_save"), saved);
    }
    for (Targets targets : candidates(adapted)) {
      ObjectNode candidate = json.deepCopy();
      if (!targets.equals(unionOfTargets().orElse(null))) {
        candidate.putNull("exclude_modules");
        candidate.putNull("layers_to_transform");
        candidate.putNull("layers_pattern");
      }
      if (targets instanceof Targets.Names names) {
        strings(candidate.putArray("target_modules"), names.names());
      } else {
        candidate.put("target_modules", targets.jsonValue().toString());
      }
      LoraConfig config = LoraConfig.fromJson(candidate);
      if (selects(config, adapted)) {
        return config;
      }
    }
    throw new InvalidConfigException(
        "no target_modules can name the layers of all adapters together: modules_to_save "
            + saved
            + " of one leaves out layers that another adapts");
  }

  /** What PEFT would write, else the layers by name, else by an expression for nothing else. */
  private List<Targets> candidates(List<LayerSpec> adapted) {
    List<String> paths = adapted.stream().map(LayerSpec::path).toList();
    List<Targets> candidates = new ArrayList<>();
    unionOfTargets().ifPresent(candidates::add);
    candidates.add(Targets.names(paths));
    candidates.add(
        Targets.expression(String.join("|", paths.stream().map(AdapterCombiner::quoted).toList())));
    return candidates;
  }

  private static String quoted(String path) {
    StringBuilder expression = new StringBuilder();
    for (char c : path.toCharArray()) {
      expression.append(SPECIAL.indexOf(c) >= 0 ? "\\" : "").append(c);
    }
    return expression.toString();
  }

  /** All names, or one expression out of all, where the adapters restrict them alike. */
  private Optional<Targets> unionOfTargets() {
    LoraConfig first = sources.get(0).config();
    Set<String> names = new LinkedHashSet<>();
    Set<String> expressions = new LinkedHashSet<>();
    for (CombinationSource source : sources) {
      LoraConfig config = source.config();
      if (!config.excludeModules().equals(first.excludeModules())
          || !config.layersToTransform().equals(first.layersToTransform())
          || !config.layersPattern().equals(first.layersPattern())) {
        return Optional.empty();
      }
      Targets targets = config.targetModules().orElse(null);
      if (targets instanceof Targets.Names list) {
        names.addAll(list.names());
      } else if (targets instanceof Targets.Expression expression) {
        expressions.add("(" + expression.expression() + ")");
      } else {
        return Optional.empty();
      }
    }
    if (expressions.isEmpty()) {
      return Optional.of(Targets.names(names));
    }
    return names.isEmpty()
        ? Optional.of(Targets.expression(String.join("|", expressions)))
        : Optional.empty();
  }

  private boolean selects(LoraConfig config, List<LayerSpec> adapted) {
    List<LayerSpec> selected =
        TargetMatcher.match(layout, LoraTargets.selection(config, layout)).layers();
    return new HashSet<>(selected).equals(new HashSet<>(adapted));
  }

  private static void strings(ArrayNode array, Iterable<String> values) {
    values.forEach(array::add);
  }
}
