package io.peft4j.vera;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import io.peft4j.TaskType;
import io.peft4j.spi.ConfigKeys;
import io.peft4j.target.TargetSelection;
import io.peft4j.target.Targets;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * VeRA: y = W·x + b ⊙ (B·(d ⊙ (A·x))), where A [r, in] and B [out, r] are random, frozen and the
 * same for all layers (smaller layers take their first columns and rows), and the vectors d and b
 * are trained. b begins as zeros, d as {@code d_initial}.
 *
 * <pre>{@code
 * VeraConfig.builder().rank(256).targetModules("q_proj", "v_proj").build()
 * }</pre>
 */
public final class VeraConfig implements PeftConfig {
  /** The rank where none is given. */
  public static final int DEFAULT_RANK = 256;

  static final String NAME = "VERA";
  private static final String PEFT_VERSION = "0.21.2";
  private static final String BIAS = "bias";
  private static final String ALL_BIASES = "all";
  private static final String OWN_BIASES = "vera_only";
  private static final String SEED = "projection_prng_key";
  private static final Set<String> KNOWN =
      Set.of(
          "auto_mapping",
          "base_model_name_or_path",
          BIAS,
          "d_initial",
          "fan_in_fan_out",
          "inference_mode",
          "init_weights",
          "layers_pattern",
          "layers_to_transform",
          "modules_to_save",
          "peft_type",
          "peft_version",
          SEED,
          "r",
          "revision",
          "save_projection",
          "target_modules",
          "task_type",
          "vera_dropout");

  private final ObjectNode json;
  private final int rank;
  private final @Nullable Targets targets;
  private final List<Integer> layersToTransform;
  private final List<String> layersPattern;
  private final List<String> saved;
  private final int seed;
  private final boolean saveProjection;
  private final double dropout;
  private final double initial;
  private final boolean standard;
  private final @Nullable TaskType task;

  private VeraConfig(ObjectNode json) {
    this.json = json;
    ConfigKeys keys = new ConfigKeys(json);
    rank = keys.positiveInteger("r");
    targets = keys.targets("target_modules");
    layersToTransform = keys.integers("layers_to_transform");
    layersPattern = keys.strings("layers_pattern");
    saved = keys.strings("modules_to_save");
    if (!keys.value(SEED).canConvertToInt() || keys.value(SEED).intValue() < 0) {
      throw keys.wrong(SEED, "an integer of at least 0");
    }
    seed = keys.value(SEED).intValue();
    saveProjection = keys.flag("save_projection");
    dropout = keys.fraction("vera_dropout");
    if (!keys.value("d_initial").isNumber()) {
      throw keys.wrong("d_initial", "a number");
    }
    initial = keys.value("d_initial").doubleValue();
    standard = keys.flag("init_weights");
    task = keys.taskType().orElse(null);
    keys.flag("fan_in_fan_out");
    String bias = keys.value(BIAS).asText();
    if (!Set.of("none", OWN_BIASES, ALL_BIASES).contains(bias)) {
      throw keys.wrong(BIAS, "one of \"none\", \"all\", \"vera_only\"");
    }
    keys.refuseOthers(KNOWN, Set.of());
    TargetSelection.checkLayers(targets, layersToTransform, layersPattern);
  }

  private static ObjectNode defaults() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    for (String key :
        new String[] {
          "auto_mapping",
          "base_model_name_or_path",
          "layers_pattern",
          "layers_to_transform",
          "modules_to_save",
          "revision",
          "target_modules",
          "task_type"
        }) {
      json.putNull(key);
    }
    json.put(BIAS, "none");
    json.put("d_initial", 0.1);
    json.put("fan_in_fan_out", false);
    json.put("inference_mode", false);
    json.put("init_weights", true);
    json.put("peft_type", NAME);
    json.put("peft_version", PEFT_VERSION);
    json.put(SEED, 0);
    json.put("r", DEFAULT_RANK);
    json.put("save_projection", true);
    json.put("vera_dropout", 0.0);
    return json;
  }

  /**
   * Starts with PEFT's defaults.
   *
   * @return a builder
   */
  public static Builder builder() {
    return new Builder(defaults());
  }

  /**
   * Reads the content of {@code adapter_config.json}. Keys that are missing have PEFT's defaults.
   *
   * @param json the content
   * @return the configuration
   * @throws InvalidConfigException if a value is wrong or asks for what is not implemented
   */
  public static VeraConfig fromJson(ObjectNode json) {
    ObjectNode all = defaults();
    all.setAll(json);
    return new VeraConfig(all);
  }

  /**
   * Starts from this configuration.
   *
   * @return a builder with the same values
   */
  public Builder toBuilder() {
    return new Builder(json.deepCopy());
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
   * The rank.
   *
   * @return {@code r}
   */
  public int rank() {
    return rank;
  }

  /**
   * The layers to adapt.
   *
   * @return {@code target_modules}; empty for the architecture's own
   */
  public Optional<Targets> targetModules() {
    return Optional.ofNullable(targets);
  }

  /**
   * Restricts the targets to layers of some indexes.
   *
   * @return {@code layers_to_transform}
   */
  public List<Integer> layersToTransform() {
    return layersToTransform;
  }

  /**
   * The names after which a path has its layer's index.
   *
   * @return {@code layers_pattern}
   */
  public List<String> layersPattern() {
    return layersPattern;
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
   * What the two random matrices depend on.
   *
   * @return {@code projection_prng_key}
   */
  public int projectionSeed() {
    return seed;
  }

  /**
   * Whether the two random matrices are saved too.
   *
   * @return {@code save_projection}
   */
  public boolean saveProjection() {
    return saveProjection;
  }

  /**
   * The probability with which values of a layer's input are dropped before A, in training.
   *
   * @return {@code vera_dropout}
   */
  public double dropout() {
    return dropout;
  }

  /**
   * What d begins with.
   *
   * @return {@code d_initial}
   */
  public double initialD() {
    return initial;
  }

  /**
   * Whether vectors begin as they should.
   *
   * @return {@code init_weights}; false for ones and random numbers, which only tests want
   */
  public boolean initWeights() {
    return standard;
  }

  /**
   * The task.
   *
   * @return {@code task_type}
   */
  public Optional<TaskType> taskType() {
    return Optional.ofNullable(task);
  }

  /** Whether a bias of the base is trained, in a copy. */
  boolean trainsBias(boolean adapted) {
    String bias = json.get(BIAS).asText();
    return bias.equals(ALL_BIASES) || (adapted && bias.equals(OWN_BIASES));
  }

  /** Collects settings; everything is checked in {@link #build}. For the use of one thread. */
  public static final class Builder {
    private final ObjectNode json;

    private Builder(ObjectNode json) {
      this.json = json;
    }

    /**
     * Sets the rank.
     *
     * @param value at least 1; {@value VeraConfig#DEFAULT_RANK} if not set
     * @return this
     */
    public Builder rank(int value) {
      json.put("r", value);
      return this;
    }

    /**
     * Sets the layers to adapt by name: a whole path, or the end of one after a dot.
     *
     * @param names for example {@code q_proj}
     * @return this
     */
    public Builder targetModules(String... names) {
      return targetModules(Targets.names(names));
    }

    /**
     * Sets the layers to adapt.
     *
     * @param value names, a regular expression for whole paths, or all linear layers
     * @return this
     */
    public Builder targetModules(Targets value) {
      json.set("target_modules", value.json());
      return this;
    }

    /**
     * Restricts the targets to layers of some indexes.
     *
     * @param indexes from 0
     * @return this
     */
    public Builder layersToTransform(int... indexes) {
      ArrayNode array = json.putArray("layers_to_transform");
      Arrays.stream(indexes).forEach(array::add);
      return this;
    }

    /**
     * Sets what the two random matrices depend on; 0 if not set.
     *
     * @param value from 0
     * @return this
     */
    public Builder projectionSeed(int value) {
      json.put(SEED, value);
      return this;
    }

    /**
     * Sets whether the two random matrices are saved too; they are if not set. Without them the
     * file is small, and they are made again from the seed.
     *
     * @param value whether they are saved
     * @return this
     */
    public Builder saveProjection(boolean value) {
      json.put("save_projection", value);
      return this;
    }

    /**
     * Sets the probability with which values of a layer's input are dropped before A, in training.
     *
     * @param value in [0, 1); 0 if not set
     * @return this
     */
    public Builder dropout(double value) {
      json.put("vera_dropout", value);
      return this;
    }

    /**
     * Sets what d begins with; 0.1 if not set.
     *
     * @param value the number
     * @return this
     */
    public Builder initialD(double value) {
      json.put("d_initial", value);
      return this;
    }

    /**
     * Sets which biases of the base are trained, in copies of the adapter's own: {@code none},
     * {@code vera_only} (those of adapted layers) or {@code all}.
     *
     * @param value none if not set
     * @return this
     */
    public Builder bias(String value) {
      json.put(BIAS, value);
      return this;
    }

    /**
     * Sets modules that are trained and saved whole.
     *
     * @param names for example {@code classifier}
     * @return this
     */
    public Builder modulesToSave(String... names) {
      json.set("modules_to_save", Targets.names(names).json());
      return this;
    }

    /**
     * Sets whether vectors begin as they should; they do if not set.
     *
     * @param value false for ones and random numbers
     * @return this
     */
    public Builder initWeights(boolean value) {
      json.put("init_weights", value);
      return this;
    }

    /**
     * Sets the task, for which PEFT saves heads too.
     *
     * @param value the task
     * @return this
     */
    public Builder taskType(TaskType value) {
      json.put("task_type", value.name());
      return this;
    }

    Builder transposed(boolean value) {
      json.put("fan_in_fan_out", value);
      return this;
    }

    /**
     * Checks and makes the configuration.
     *
     * @return the configuration
     * @throws InvalidConfigException if a value is wrong
     */
    public VeraConfig build() {
      return new VeraConfig(json.deepCopy());
    }
  }
}
