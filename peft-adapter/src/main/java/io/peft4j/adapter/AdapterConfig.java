package io.peft4j.adapter;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import io.peft4j.TaskType;
import io.peft4j.spi.ConfigKeys;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Bottleneck adapters: where they stand, how wide they are and what they are made of. Begins with
 * one of AdapterHub's presets:
 *
 * <pre>{@code
 * AdapterConfig.seqBn().build();                                   // after the feed-forward
 * AdapterConfig.doubleSeqBn().reductionFactor(8).dropout(0.1).build();
 * AdapterConfig.parBn().leaveOut(0, 1).build();                    // beside the feed-forward
 * }</pre>
 *
 * <p>Where the initialisation is not set, the presets that AdapterHub begins with random weights
 * ({@code seq_bn}, {@code double_seq_bn}) begin with those in models that normalise after the
 * residual (BERT), and with an adapter that changes nothing in the others (decoders).
 */
public final class AdapterConfig implements PeftConfig {
  static final String NAME = "BOTTLENECK";
  static final String CONFIG = "config";
  static final String HIDDEN = "hidden_size";
  static final String MODEL_TYPE = "model_type";
  static final String ADAPTER = "name";
  static final String SAVED = "modules_to_save";
  private static final String TASK = "task_type";
  private static final Set<String> OUTER =
      Set.of(
          CONFIG,
          HIDDEN,
          "model_class",
          "model_name",
          MODEL_TYPE,
          ADAPTER,
          "version",
          "type",
          "peft_type",
          SAVED,
          TASK);

  private final ObjectNode json;
  private final Map<String, Double> reduction;
  private final NonLinearity nonLinearity;
  private final Scaling scaling;
  private final AdapterResidual residual;
  private final Set<Integer> leaveOut;
  private final double dropout;
  private final double depth;
  private final @Nullable Initialization initialization;
  private final List<String> saved;
  private final @Nullable TaskType task;
  private final Flags flags;

  private record Flags(
      boolean attention,
      boolean feedForward,
      boolean parallel,
      boolean gating,
      boolean originalBefore,
      boolean originalAfter,
      boolean before,
      boolean after,
      boolean residualFirst) {}

  AdapterConfig(ObjectNode json) {
    this.json = json;
    ConfigKeys outer = new ConfigKeys(json);
    outer.refuseOthers(OUTER, Set.of());
    ConfigKeys keys = new ConfigKeys((ObjectNode) json.get(CONFIG));
    keys.refuseOthers(BottleneckKeys.KNOWN, BottleneckKeys.UNIMPLEMENTED);
    reduction = BottleneckKeys.reduction(keys);
    nonLinearity = BottleneckKeys.nonLinearity(keys);
    scaling = BottleneckKeys.scaling(keys);
    if (scaling.kind() == Scaling.Kind.FIXED) {
      // AdapterHub takes no whole number without a point.
      ((ObjectNode) json.get(CONFIG)).put("scaling", scaling.factor());
    }
    residual = BottleneckKeys.residual(keys);
    leaveOut = Set.copyOf(new HashSet<>(keys.integers(BottleneckKeys.LEAVE_OUT)));
    dropout = keys.fraction(BottleneckKeys.DROPOUT);
    depth = keys.fraction(BottleneckKeys.DEPTH);
    initialization = initialization(keys);
    saved = outer.strings(SAVED);
    task = outer.taskType().orElse(null);
    flags =
        new Flags(
            keys.flag(BottleneckKeys.ATTENTION),
            keys.flag(BottleneckKeys.FEED_FORWARD),
            keys.flag(BottleneckKeys.PARALLEL),
            keys.flag(BottleneckKeys.GATING),
            keys.flag(BottleneckKeys.ORIGINAL_BEFORE),
            keys.flag(BottleneckKeys.ORIGINAL_AFTER),
            keys.flag(BottleneckKeys.NORM_BEFORE),
            keys.flag(BottleneckKeys.NORM_AFTER),
            keys.flag(BottleneckKeys.RESIDUAL_BEFORE_AFTER));
    check(outer);
  }

  private void check(ConfigKeys outer) {
    if (!flags.attention && !flags.feedForward) {
      throw new InvalidConfigException(
          "mh_adapter or output_adapter must be true: an adapter has to stand somewhere");
    }
    if (residual == AdapterResidual.SUM && !flags.originalBefore) {
      throw new InvalidConfigException(
          "residual_before_ln may be \"post_add\" only with original_ln_before");
    }
    if (flags.parallel && depth > 0) {
      throw new InvalidConfigException(
          "stochastic_depth must be 0 for parallel adapters, was " + depth);
    }
    JsonNode name = outer.value(ADAPTER);
    if (!name.isTextual() || name.textValue().isEmpty() || name.textValue().contains(".")) {
      throw outer.wrong(ADAPTER, "a name without a dot");
    }
  }

  private static @Nullable Initialization initialization(ConfigKeys keys) {
    JsonNode value = keys.value(BottleneckKeys.INIT);
    if (value.isNull()) {
      return null;
    }
    for (Initialization candidate : Initialization.values()) {
      if (candidate.key().equals(value.asText())) {
        return candidate;
      }
    }
    if (value.asText().equals("identity")) {
      return Initialization.IDENTITY;
    }
    throw keys.wrong(BottleneckKeys.INIT, "one of bert, mam_adapter, houlsby, identity");
  }

  /**
   * Starts with a preset.
   *
   * @param preset AdapterHub's name: {@code seq_bn} ({@code pfeiffer}), {@code double_seq_bn}
   *     ({@code houlsby}), {@code par_bn} ({@code parallel}), {@code scaled_par_bn}, {@code
   *     adapter_plus}
   * @return a builder
   * @throws InvalidConfigException if there is no such preset
   */
  public static AdapterConfigBuilder preset(String preset) {
    Map<String, ObjectNode> presets = BottleneckKeys.presets();
    ObjectNode bottleneck = presets.get(preset);
    if (bottleneck == null) {
      throw new InvalidConfigException(
          "there is no preset '" + preset + "'; there are " + presets.keySet());
    }
    return new AdapterConfigBuilder(outer(bottleneck));
  }

  private static ObjectNode outer(ObjectNode bottleneck) {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.set(CONFIG, bottleneck);
    json.putNull(HIDDEN).putNull("model_class").putNull("model_name").putNull(MODEL_TYPE);
    return json.put(ADAPTER, "default").put("version", "adapters.1.3.0");
  }

  /**
   * One adapter after each feed-forward, on normalised values: {@code seq_bn}, of Pfeiffer et al.
   *
   * @return a builder
   */
  public static AdapterConfigBuilder seqBn() {
    return preset("seq_bn");
  }

  /**
   * One adapter after attention and one after the feed-forward: {@code double_seq_bn}, of Houlsby
   * et al.
   *
   * @return a builder
   */
  public static AdapterConfigBuilder doubleSeqBn() {
    return preset("double_seq_bn");
  }

  /**
   * One adapter beside each feed-forward, times 4: {@code par_bn}, of He et al.
   *
   * @return a builder
   */
  public static AdapterConfigBuilder parBn() {
    return preset("par_bn");
  }

  /**
   * One adapter beside each feed-forward, times a learned number: {@code scaled_par_bn}.
   *
   * @return a builder
   */
  public static AdapterConfigBuilder scaledParBn() {
    return preset("scaled_par_bn");
  }

  /**
   * Adapter+, of Steitz and Roth: after the feed-forward and its norm, times a learned vector.
   *
   * @return a builder
   */
  public static AdapterConfigBuilder adapterPlus() {
    return preset("adapter_plus");
  }

  /**
   * Reads the content of AdapterHub's {@code adapter_config.json}, or the settings of its {@code
   * config} alone. Keys that are missing have AdapterHub's defaults.
   *
   * @param json the content
   * @return the configuration
   * @throws InvalidConfigException if a value is wrong or asks for what is not implemented
   */
  public static AdapterConfig fromJson(ObjectNode json) {
    ObjectNode bottleneck = BottleneckKeys.defaults();
    ObjectNode all = outer(bottleneck);
    if (json.get(CONFIG) instanceof ObjectNode inner) {
      bottleneck.put(BottleneckKeys.INIT, Initialization.BERT.key());
      bottleneck.setAll(inner);
      all.setAll(json);
      all.set(CONFIG, bottleneck);
    } else {
      json.properties()
          .forEach(
              entry ->
                  (OUTER.contains(entry.getKey()) ? all : bottleneck)
                      .set(entry.getKey(), entry.getValue()));
      all.remove("peft_type");
    }
    if (!(all.get(CONFIG) instanceof ObjectNode)) {
      throw new InvalidConfigException("config must be an object, was " + all.get(CONFIG));
    }
    return new AdapterConfig(all.deepCopy());
  }

  /**
   * Starts from this configuration.
   *
   * @return a builder with the same values
   */
  public AdapterConfigBuilder toBuilder() {
    return new AdapterConfigBuilder(json.deepCopy());
  }

  @Override
  public String peftType() {
    return NAME;
  }

  @Override
  public ObjectNode toJson() {
    return json.deepCopy();
  }

  /**
   * The name that the adapter has in its files.
   *
   * @return {@code name}
   */
  public String name() {
    return json.get(ADAPTER).textValue();
  }

  /**
   * Whether adapters stand after attention.
   *
   * @return {@code mh_adapter}
   */
  public boolean afterAttention() {
    return flags.attention;
  }

  /**
   * Whether adapters stand after the feed-forward.
   *
   * @return {@code output_adapter}
   */
  public boolean afterFeedForward() {
    return flags.feedForward;
  }

  /**
   * How many times narrower the middle is than the hidden values.
   *
   * @param layer a layer's index
   * @return {@code reduction_factor} of that layer; empty if a map has neither it nor a default
   */
  public Optional<Double> reductionFactor(int layer) {
    Double factor = reduction.get(Integer.toString(layer));
    return Optional.ofNullable(factor == null ? reduction.get("default") : factor);
  }

  /**
   * The function in the middle.
   *
   * @return {@code non_linearity}
   */
  public NonLinearity nonLinearity() {
    return nonLinearity;
  }

  /**
   * Whether adapters stand beside a sub-layer, not after it.
   *
   * @return {@code is_parallel}
   */
  public boolean parallel() {
    return flags.parallel;
  }

  /**
   * The factor on what is added.
   *
   * @return {@code scaling}
   */
  public Scaling scaling() {
    return scaling;
  }

  /**
   * Whether a learned gate multiplies what is added.
   *
   * @return {@code use_gating}
   */
  public boolean gating() {
    return flags.gating;
  }

  /**
   * What goes round the projections.
   *
   * @return {@code residual_before_ln}
   */
  public AdapterResidual residual() {
    return residual;
  }

  /**
   * Whether the residual and the model's norm come before the adapter.
   *
   * @return {@code original_ln_before}
   */
  public boolean originalNormBefore() {
    return flags.originalBefore;
  }

  /**
   * Whether the residual and the model's norm come after the adapter.
   *
   * @return {@code original_ln_after}
   */
  public boolean originalNormAfter() {
    return flags.originalAfter;
  }

  /**
   * Whether the adapter begins with a norm of its own.
   *
   * @return {@code ln_before}
   */
  public boolean normBefore() {
    return flags.before;
  }

  /**
   * Whether the adapter ends with a norm of its own.
   *
   * @return {@code ln_after}
   */
  public boolean normAfter() {
    return flags.after;
  }

  /**
   * Whether that norm takes in what goes round the projections.
   *
   * @return {@code adapter_residual_before_ln}
   */
  public boolean residualBeforeNormAfter() {
    return flags.residualFirst;
  }

  /**
   * The layers without adapters.
   *
   * @return {@code leave_out}, indexes from 0
   */
  public Set<Integer> leaveOut() {
    return leaveOut;
  }

  /**
   * The probability with which values of what is added are dropped in training.
   *
   * @return {@code dropout}
   */
  public double dropout() {
    return dropout;
  }

  /**
   * The probability with which a row loses all that is added, in training.
   *
   * @return {@code stochastic_depth}
   */
  public double stochasticDepth() {
    return depth;
  }

  /**
   * What a new adapter begins with.
   *
   * @return {@code init_weights}; empty for what suits the model
   */
  public Optional<Initialization> initialization() {
    return Optional.ofNullable(initialization);
  }

  /**
   * Modules that are trained and saved whole.
   *
   * @return {@code modules_to_save}
   */
  public List<String> modulesToSave() {
    return saved;
  }

  /**
   * The task, whose head is trained and saved too.
   *
   * @return {@code task_type}
   */
  public Optional<TaskType> taskType() {
    return Optional.ofNullable(task);
  }

  /** What torch's random numbers would be set to, which is not followed. */
  boolean seeded() {
    return !json.get(CONFIG).path(BottleneckKeys.SEED).isNull();
  }
}
