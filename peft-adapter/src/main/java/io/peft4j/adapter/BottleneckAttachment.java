package io.peft4j.adapter;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.InvalidConfigException;
import io.peft4j.adapter.Bottleneck.Pair;
import io.peft4j.adapter.Bottleneck.Tensors;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.spi.AttachContext;
import io.peft4j.spi.SavedModules;
import io.peft4j.spi.SavedTensors;
import io.peft4j.state.AdapterState;
import io.peft4j.state.PeftDirectory;
import io.peft4j.target.JoinKind;
import io.peft4j.target.JoinSpec;
import io.peft4j.target.ModelLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** Makes an adapter, new or of saved tensors. */
final class BottleneckAttachment {
  /** Wider than any model's hidden values; a factor below 1 could ask for any width. */
  private static final long WIDEST = 1 << 20;

  private final AttachContext context;
  private final AdapterBuilder adapter;
  private final AdapterConfig config;
  private final ModelLayout layout;
  private final @Nullable SavedTensors saved;
  private final Beginnings beginnings;

  BottleneckAttachment(AttachContext context, AdapterBuilder adapter, AdapterConfig config) {
    this.context = context;
    this.adapter = adapter;
    this.config = config;
    layout = context.layout();
    saved = context.saved().isPresent() ? new SavedTensors(context, PeftDirectory.PREFIX) : null;
    boolean normalised = layout.joins().get(0).normalised();
    Initialization standard = normalised ? Initialization.BERT : Initialization.IDENTITY;
    beginnings = new Beginnings(context.manager(), config.initialization().orElse(standard));
  }

  void run() {
    if (saved == null && config.seeded()) {
      throw new InvalidConfigException(
          "init_weights_seed must be null for a new adapter: set the engine's seed instead");
    }
    List<JoinSpec> joins = layout.joins().stream().filter(this::chosen).toList();
    if (joins.isEmpty()) {
      throw new InvalidConfigException(
          "mh_adapter, output_adapter and leave_out leave no place for an adapter in this "
              + layout.modelType()
              + " model, which has "
              + layout.joins());
    }
    for (JoinSpec join : joins) {
      attach(join);
    }
    SavedModules.attach(context, adapter, modules(), saved);
    if (saved != null) {
      saved.finish();
    }
    AdapterConfig resolved =
        config.toBuilder()
            .initialization(beginnings.initialization())
            .model(joins.get(0).hidden(), layout.modelType())
            .build();
    adapter.exportAs(
        () -> new AdapterState(resolved.toJson(), new TreeMap<>(adapter.parameters())));
  }

  private boolean chosen(JoinSpec join) {
    boolean there =
        join.kind() == JoinKind.ATTENTION ? config.afterAttention() : config.afterFeedForward();
    return there && !config.leaveOut().contains(join.layer());
  }

  /** The modules to save, and what there is of a task's heads. */
  private List<String> modules() {
    List<String> found = new ArrayList<>();
    for (String name : SavedModules.names(config.modulesToSave(), config.taskType())) {
      List<String> paths =
          layout.modules().stream()
              .filter(path -> path.equals(name) || path.endsWith("." + name))
              .toList();
      if (paths.isEmpty() && config.modulesToSave().contains(name)) {
        throw new InvalidConfigException("modules_to_save: the model has no module " + name);
      }
      paths.stream().filter(path -> !found.contains(path)).forEach(found::add);
    }
    return found;
  }

  private void attach(JoinSpec join) {
    long hidden = join.hidden();
    long middle = middle(join);
    String path = module(join) + AdapterHubDirectory.ADAPTERS;
    String first = path + "adapter_down.";
    String down = first + (config.normBefore() ? 1 : 0);
    Pair before = config.normBefore() ? norm(first + 0, hidden) : null;
    Pair wide = pair(down, middle, hidden, Part.DOWN);
    Pair up = pair(path + "adapter_up", hidden, middle, Part.UP);
    Pair after = config.normAfter() ? norm(path + "adapter_norm_after", hidden) : null;
    Pair gate = config.gating() ? pair(path + "gate", 1, hidden, Part.GATE) : null;
    long scales =
        switch (config.scaling().kind()) {
          case FIXED -> 0;
          case LEARNED -> 1;
          case CHANNEL -> hidden;
        };
    NDArray scaling = scales == 0 ? null : vector(path + "scaling", scales, 1);
    if (saved != null) {
      // AdapterHub has the norm of ln_before under two names.
      saved.drop(path + "adapter_norm_before.weight");
      saved.drop(path + "adapter_norm_before.bias");
    }
    Tensors tensors = new Tensors(wide, up, before, after, gate, scaling);
    adapter.atJoin(
        join.path(),
        new Bottleneck(config, tensors),
        join.kind() == JoinKind.ATTENTION ? BottleneckKeys.ATTENTION : BottleneckKeys.FEED_FORWARD);
  }

  /** AdapterHub's path: BERT's modules have the adapters in them, decoders' layers beside them. */
  private static String module(JoinSpec join) {
    if (join.normalised()) {
      return join.path();
    }
    String layer = join.path().substring(0, join.path().lastIndexOf('.') + 1);
    return layer + (join.kind() == JoinKind.ATTENTION ? "attention_adapters" : "output_adapters");
  }

  private long middle(JoinSpec join) {
    double factor =
        config
            .reductionFactor(join.layer())
            .orElseThrow(
                () ->
                    new InvalidConfigException(
                        "reduction_factor has neither a number for layer "
                            + join.layer()
                            + " nor a \"default\""));
    double hidden = join.hidden();
    // Python's floor division, which is exact where a rounded quotient is not.
    double middle = Math.max(1, (hidden - hidden % factor) / factor);
    if (middle > WIDEST) {
      throw new InvalidConfigException(
          "reduction_factor makes of "
              + join.hidden()
              + " hidden values more than "
              + WIDEST
              + ", was "
              + factor);
    }
    return Math.round(middle);
  }

  private enum Part {
    DOWN,
    UP,
    GATE
  }

  private Pair pair(String key, long out, long in, Part part) {
    NDArray weight = parameter(key + ".weight", new Shape(out, in));
    NDArray bias = parameter(key + ".bias", new Shape(out));
    if (saved == null) {
      beginnings.fill(weight, bias, part == Part.UP, part == Part.GATE);
    }
    return new Pair(weight, bias);
  }

  private Pair norm(String key, long size) {
    return new Pair(vector(key + ".weight", size, 1), vector(key + ".bias", size, 0));
  }

  private NDArray vector(String key, long size, float value) {
    NDArray array = parameter(key, new Shape(size));
    if (saved == null && value != 0) {
      array.addi(value);
    }
    return array;
  }

  /** The saved tensor, or zeros; one zero if the saved one does not fit, which is told later. */
  private NDArray parameter(String key, Shape shape) {
    NDArray array = saved == null ? null : saved.require(key, shape);
    // A file says what shapes are wanted: nothing is allocated for those that it has no tensors of.
    Shape made = saved == null ? shape : new Shape(1);
    return adapter.parameter(
        PeftDirectory.PREFIX + key,
        array == null ? context.manager().zeros(made, DataType.FLOAT32) : array);
  }

  /**
   * What new projections hold, as AdapterHub's {@code Adapter} has it.
   *
   * @param manager makes random numbers
   * @param initialization which
   */
  private record Beginnings(NDManager manager, Initialization initialization) {
    void fill(NDArray weight, NDArray bias, boolean up, boolean gate) {
      if (gate) {
        fillGate(weight, bias);
        return;
      }
      switch (initialization) {
        case BERT -> normal(weight, 0.02f);
        case HOULSBY -> truncated(weight);
        case MAM_ADAPTER, IDENTITY -> {
          if (!up) {
            uniform(weight, weight.getShape().get(1));
          }
        }
      }
    }

    private void fillGate(NDArray weight, NDArray bias) {
      if (initialization == Initialization.HOULSBY) {
        // torch's own for linear layers: AdapterHub leaves the gate alone here.
        uniform(weight, weight.getShape().get(1));
        uniform(bias, weight.getShape().get(1));
      } else {
        normal(weight, 0.02f);
      }
    }

    private void normal(NDArray array, float deviation) {
      try (NDArray values =
          manager.randomNormal(0, deviation, array.getShape(), DataType.FLOAT32)) {
        array.addi(values);
      }
    }

    private void uniform(NDArray array, long in) {
      float bound = (float) (1 / Math.sqrt(in));
      try (NDArray values =
          manager.randomUniform(-bound, bound, array.getShape(), DataType.FLOAT32)) {
        array.addi(values);
      }
    }

    /**
     * Normal with deviation 0.01, drawn again beyond twice that: by the inverse of the integral.
     */
    private void truncated(NDArray array) {
      double edge = 0.9544997361036416;
      try (NDArray values =
              manager.randomUniform(
                  (float) -edge, (float) edge, array.getShape(), DataType.FLOAT32);
          NDArray inverse = values.erfinv();
          NDArray scaled = inverse.mul((float) (0.01 * Math.sqrt(2)))) {
        array.addi(scaled);
      }
    }
  }
}
