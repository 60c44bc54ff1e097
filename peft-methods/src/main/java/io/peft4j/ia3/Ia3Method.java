package io.peft4j.ia3;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.PeftConfig;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.spi.AttachContext;
import io.peft4j.spi.PeftMethod;
import io.peft4j.spi.SavedModules;
import io.peft4j.spi.SavedTensors;
import io.peft4j.state.AdapterState;
import io.peft4j.state.PeftDirectory;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.MatchProblem;
import io.peft4j.target.Matches;
import io.peft4j.target.ModelLayout;
import io.peft4j.target.TargetMatcher;
import io.peft4j.target.Targets;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * (IA)³ as a method. Found by {@link java.util.ServiceLoader}.
 *
 * <p>The state key of a layer's vector is {@code base_model.model.<path>.ia3_l}: float32 [out, 1],
 * or [1, in] of a feed-forward layer.
 */
public final class Ia3Method implements PeftMethod {
  private static final String KEY = ".ia3_l";
  private static final Set<LayerKind> KINDS = Set.of(LayerKind.LINEAR, LayerKind.LINEAR_TRANSPOSED);

  /** Made by the service loader. */
  public Ia3Method() {}

  @Override
  public String name() {
    return Ia3Config.NAME;
  }

  @Override
  public Class<? extends PeftConfig> configType() {
    return Ia3Config.class;
  }

  @Override
  public PeftConfig readConfig(ObjectNode json) {
    return Ia3Config.fromJson(json);
  }

  @Override
  public double learningRate() {
    // That of the paper's recipe.
    return 3e-3;
  }

  @Override
  public Set<String> settings() {
    return Set.of(
        "target_modules",
        "feedforward_modules",
        "exclude_modules",
        "modules_to_save",
        "init_ia3_weights",
        "task_type");
  }

  @Override
  public void attach(AttachContext context, AdapterBuilder adapter) {
    ModelLayout layout = context.layout();
    Ia3Config config = context.config(Ia3Config.class);
    SavedTensors saved =
        context.saved().isPresent() ? new SavedTensors(context, PeftDirectory.PREFIX) : null;
    Matches matches = TargetMatcher.match(layout, Ia3Targets.selection(config, layout), KINDS);
    if (saved == null) {
      matches.requireAll();
    } else {
      matches.problems().stream().map(MatchProblem::message).forEach(adapter::note);
    }
    Targets feedforward = Ia3Targets.feedforward(config, layout);
    Set<LayerSpec> inputs = Ia3Targets.feedforwardLayers(feedforward, matches, layout);
    for (Matches.Adapted match : matches.adapted()) {
      boolean input = inputs.contains(match.layer());
      layer(context, adapter, match, input, saved);
    }
    SavedModules.attach(context, adapter, matches.modulesToSave(), saved);
    if (saved != null) {
      saved.finish();
    }
    boolean transposed =
        matches.layers().stream().anyMatch(layer -> layer.kind() == LayerKind.LINEAR_TRANSPOSED);
    Ia3Config resolved =
        config.toBuilder()
            .targetModules(matches.resolvedTargets())
            .feedforwardModules(feedforward)
            .transposed(transposed)
            .build();
    adapter.exportAs(
        () -> new AdapterState(json(resolved, config), new TreeMap<>(adapter.parameters())));
  }

  /** PEFT writes the heads of a task into the file. */
  private static ObjectNode json(Ia3Config resolved, Ia3Config given) {
    List<String> heads = SavedModules.names(given.modulesToSave(), given.taskType());
    return heads.isEmpty()
        ? resolved.toJson()
        : resolved.toBuilder().modulesToSave(heads.toArray(String[]::new)).build().toJson();
  }

  private static void layer(
      AttachContext context,
      AdapterBuilder adapter,
      Matches.Adapted match,
      boolean feedforward,
      @Nullable SavedTensors saved) {
    LayerSpec layer = match.layer();
    Shape shape =
        feedforward ? new Shape(1, layer.inFeatures()) : new Shape(layer.outFeatures(), 1);
    NDArray vector;
    if (saved != null) {
      vector = saved.require(layer.path() + KEY, shape);
      if (vector == null) {
        return;
      }
    } else {
      vector =
          context.config(Ia3Config.class).initWeights()
              ? context.manager().ones(shape, DataType.FLOAT32)
              : context.manager().randomNormal(shape);
    }
    adapter.parameter(PeftDirectory.PREFIX + layer.path() + KEY, vector);
    boolean transposed = layer.kind() == LayerKind.LINEAR_TRANSPOSED;
    adapter.at(
        layer, new Ia3Layer(vector, feedforward, transposed), "target_modules " + match.entry());
  }
}
