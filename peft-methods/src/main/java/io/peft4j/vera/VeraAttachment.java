package io.peft4j.vera;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.TaskType;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.spi.AttachContext;
import io.peft4j.spi.SavedModules;
import io.peft4j.spi.SavedTensors;
import io.peft4j.state.AdapterState;
import io.peft4j.state.PeftDirectory;
import io.peft4j.target.DefaultTargets;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.MatchProblem;
import io.peft4j.target.Matches;
import io.peft4j.target.ModelLayout;
import io.peft4j.target.TargetMatcher;
import io.peft4j.target.TargetSelection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Makes an adapter, new or of saved tensors. */
final class VeraAttachment {
  private static final Set<LayerKind> KINDS = Set.of(LayerKind.LINEAR, LayerKind.LINEAR_TRANSPOSED);
  private static final String A = "base_model.vera_A";
  private static final String B = "base_model.vera_B";
  private static final String LAMBDA_D = ".vera_lambda_d";
  private static final String LAMBDA_B = ".vera_lambda_b";

  private final AttachContext context;
  private final AdapterBuilder adapter;
  private final VeraConfig config;
  private final ModelLayout layout;
  private final @Nullable SavedTensors saved;

  VeraAttachment(AttachContext context, AdapterBuilder adapter, VeraConfig config) {
    this.context = context;
    this.adapter = adapter;
    this.config = config;
    layout = context.layout();
    saved = context.saved().isPresent() ? new SavedTensors(context, PeftDirectory.PREFIX) : null;
  }

  void run() {
    Matches matches = TargetMatcher.match(layout, selection(), KINDS);
    if (saved == null) {
      matches.requireAll();
    } else {
      matches.problems().stream().map(MatchProblem::message).forEach(adapter::note);
    }
    Projection projection = projection(matches.layers());
    for (Matches.Adapted match : matches.adapted()) {
      layer(match, projection);
    }
    biases(matches);
    SavedModules.attach(context, adapter, matches.modulesToSave(), saved);
    if (saved != null) {
      saved.finish();
    }
    ObjectNode json = resolved(matches).toJson();
    adapter.exportAs(() -> state(json, projection));
  }

  private AdapterState state(ObjectNode json, Projection projection) {
    TreeMap<String, NDArray> tensors = new TreeMap<>(adapter.parameters());
    if (config.saveProjection()) {
      tensors.put(A, projection.a());
      tensors.put(B, projection.b());
    }
    return new AdapterState(json.deepCopy(), tensors);
  }

  private TargetSelection selection() {
    return TargetSelection.builder()
        .targets(config.targetModules().orElseGet(() -> DefaultTargets.of(layout)))
        .layersToTransform(config.layersToTransform())
        .layersPattern(config.layersPattern())
        .modulesToSave(SavedModules.names(config.modulesToSave(), config.taskType()))
        .sequenceClassification(config.taskType().filter(TaskType.SEQ_CLS::equals).isPresent())
        .build();
  }

  private VeraConfig resolved(Matches matches) {
    boolean transposed =
        matches.layers().stream().anyMatch(layer -> layer.kind() == LayerKind.LINEAR_TRANSPOSED);
    VeraConfig.Builder resolved =
        config.toBuilder().targetModules(matches.resolvedTargets()).transposed(transposed);
    List<String> heads = SavedModules.names(config.modulesToSave(), config.taskType());
    return (heads.isEmpty() ? resolved : resolved.modulesToSave(heads.toArray(String[]::new)))
        .build();
  }

  /** The shared matrices: the saved ones if they are there, else those of the seed. */
  private Projection projection(List<LayerSpec> layers) {
    int rank = config.rank();
    long in = layers.stream().mapToLong(LayerSpec::inFeatures).max().orElse(1);
    long out = layers.stream().mapToLong(LayerSpec::outFeatures).max().orElse(1);
    Projection found = null;
    if (saved != null && (config.saveProjection() || saved.peek(A) != null)) {
      NDArray a = saved.require(A, new Shape(rank, in));
      NDArray b = saved.require(B, new Shape(out, rank));
      found = a == null || b == null ? null : new Projection(a, b);
    }
    Projection projection =
        found == null
            ? Projection.random(context.manager(), config.projectionSeed(), rank, in, out)
            : found;
    adapter.keep(projection.a());
    adapter.keep(projection.b());
    return projection;
  }

  private void layer(Matches.Adapted match, Projection projection) {
    LayerSpec layer = match.layer();
    NDArray d;
    NDArray b;
    if (saved != null) {
      d = saved.require(layer.path() + LAMBDA_D, new Shape(config.rank()));
      b = saved.require(layer.path() + LAMBDA_B, new Shape(layer.outFeatures()));
    } else if (config.initWeights()) {
      d = VeraMethod.full(context, config.rank(), config.initialD());
      b = VeraMethod.full(context, layer.outFeatures(), 0);
    } else {
      d = context.manager().randomNormal(new Shape(config.rank()));
      b = VeraMethod.full(context, layer.outFeatures(), 1);
    }
    if (d == null || b == null) {
      return;
    }
    adapter.parameter(PeftDirectory.PREFIX + layer.path() + LAMBDA_D, d);
    adapter.parameter(PeftDirectory.PREFIX + layer.path() + LAMBDA_B, b);
    boolean transposed = layer.kind() == LayerKind.LINEAR_TRANSPOSED;
    adapter.at(
        layer,
        new VeraLayer(projection, d, b, config.dropout(), transposed),
        "target_modules " + match.entry());
  }

  private void biases(Matches matches) {
    Set<String> adapted =
        matches.layers().stream().map(LayerSpec::biasName).collect(Collectors.toSet());
    Map<String, String> heads = SavedModules.parameters(context, matches.modulesToSave());
    for (String name : layout.parameters().keySet()) {
      if (!name.endsWith(".bias") || !config.trainsBias(adapted.contains(name))) {
        continue;
      }
      if (heads.containsKey(name)) {
        throw new InvalidConfigException(
            "bias must be none or vera_only where "
                + heads.get(name)
                + " is a module to save, which has a bias of its own");
      }
      String key =
          adapted.contains(name) ? name.substring(0, name.length() - 4) + "base_layer.bias" : name;
      NDArray own = context.parameter(name).dense();
      NDArray copy = saved == null ? context.own(own) : saved.require(key, own.getShape());
      if (copy != null) {
        adapter.override(name, PeftDirectory.PREFIX + key, copy, true);
      }
    }
  }
}
