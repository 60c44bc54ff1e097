package io.peft4j.ia3;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import io.peft4j.TaskType;
import io.peft4j.spi.ConfigKeys;
import io.peft4j.target.Targets;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * (IA)³: each chosen layer's output is multiplied by a learned vector, y = l ⊙ (W·x + b); a
 * feed-forward layer's input instead, y = W·(l ⊙ x) + b. The vectors begin as ones.
 *
 * <pre>{@code
 * Ia3Config.builder().targetModules("k_proj", "v_proj", "down_proj").feedforwardModules("down_proj").build()
 * }</pre>
 *
 * <p>Where nothing is chosen, the layers are those that PEFT takes for the model's architecture.
 */
public final class Ia3Config implements PeftConfig {
  static final String NAME = "IA3";
  static final String PEFT_VERSION = "0.21.2";
  static final String TARGETS = "target_modules";
  static final String FEEDFORWARD = "feedforward_modules";
  static final String SAVED = "modules_to_save";
  private static final String EXCLUDED = "exclude_modules";
  private static final String INIT = "init_ia3_weights";
  private static final String TRANSPOSED = "fan_in_fan_out";
  private static final Set<String> KNOWN =
      Set.of(
          "auto_mapping",
          "base_model_name_or_path",
          "inference_mode",
          "peft_type",
          "peft_version",
          "revision",
          "task_type",
          TARGETS,
          FEEDFORWARD,
          SAVED,
          EXCLUDED,
          INIT,
          TRANSPOSED);

  private final ObjectNode json;
  private final @Nullable Targets targets;
  private final @Nullable Targets feedforward;
  private final @Nullable Targets excluded;
  private final List<String> saved;
  private final boolean ones;
  private final @Nullable TaskType task;

  private Ia3Config(ObjectNode json) {
    this.json = json;
    ConfigKeys keys = new ConfigKeys(json);
    targets = keys.targets(TARGETS);
    // An empty list says that there are none; no value, that the architecture's are meant.
    boolean none = keys.value(FEEDFORWARD).isArray() && keys.value(FEEDFORWARD).isEmpty();
    feedforward = none ? null : keys.targets(FEEDFORWARD);
    excluded = keys.targets(EXCLUDED);
    saved = keys.strings(SAVED);
    ones = keys.flag(INIT);
    task = keys.taskType().orElse(null);
    keys.flag(TRANSPOSED);
    keys.refuseOthers(KNOWN, Set.of());
    if (targets instanceof Targets.Names all
        && feedforward instanceof Targets.Names some
        && !all.names().containsAll(some.names())) {
      throw new InvalidConfigException(
          FEEDFORWARD + " must be among " + TARGETS + " " + all.names() + ", were " + some.names());
    }
  }

  private static ObjectNode defaults() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    for (String key :
        new String[] {
          "auto_mapping",
          "base_model_name_or_path",
          "revision",
          "task_type",
          TARGETS,
          FEEDFORWARD,
          SAVED,
          EXCLUDED
        }) {
      json.putNull(key);
    }
    json.put(TRANSPOSED, false);
    json.put("inference_mode", false);
    json.put(INIT, true);
    json.put("peft_type", NAME);
    json.put("peft_version", PEFT_VERSION);
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
  public static Ia3Config fromJson(ObjectNode json) {
    ObjectNode all = defaults();
    all.setAll(json);
    return new Ia3Config(all);
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
   * The layers to adapt.
   *
   * @return {@code target_modules}; empty for the architecture's own
   */
  public Optional<Targets> targetModules() {
    return Optional.ofNullable(targets);
  }

  /**
   * The layers whose input is multiplied instead of their output.
   *
   * @return {@code feedforward_modules}; empty for none, or the architecture's own, see {@link
   *     #namesFeedforward}
   */
  public Optional<Targets> feedforwardModules() {
    return Optional.ofNullable(feedforward);
  }

  /**
   * Tells whether this says which layers are feed-forward layers, be it none.
   *
   * @return false if the architecture's own are meant
   */
  public boolean namesFeedforward() {
    return !json.path(FEEDFORWARD).isNull();
  }

  /**
   * Layers that are left out.
   *
   * @return {@code exclude_modules}
   */
  public Optional<Targets> excludeModules() {
    return Optional.ofNullable(excluded);
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
   * Whether vectors begin as ones.
   *
   * @return {@code init_ia3_weights}; false for random ones, which only tests want
   */
  public boolean initWeights() {
    return ones;
  }

  /**
   * The task.
   *
   * @return {@code task_type}
   */
  public Optional<TaskType> taskType() {
    return Optional.ofNullable(task);
  }

  /** Collects settings; everything is checked in {@link #build}. For the use of one thread. */
  public static final class Builder {
    private final ObjectNode json;

    private Builder(ObjectNode json) {
      this.json = json;
    }

    /**
     * Sets the layers to adapt by name: a whole path, or the end of one after a dot.
     *
     * @param names for example {@code k_proj}
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
      json.set(TARGETS, value.json());
      return this;
    }

    /**
     * Sets the layers whose input is multiplied, among the targets.
     *
     * @param names for example {@code down_proj}; none for no layer
     * @return this
     */
    public Builder feedforwardModules(String... names) {
      json.putArray(FEEDFORWARD);
      if (names.length > 0) {
        feedforwardModules(Targets.names(names));
      }
      return this;
    }

    /**
     * Sets the layers whose input is multiplied, among the targets.
     *
     * @param value names, or a regular expression for whole paths
     * @return this
     */
    public Builder feedforwardModules(Targets value) {
      json.set(FEEDFORWARD, value.json());
      return this;
    }

    /**
     * Sets layers to leave out.
     *
     * @param value names, or a regular expression for whole paths
     * @return this
     */
    public Builder excludeModules(Targets value) {
      json.set(EXCLUDED, value.json());
      return this;
    }

    /**
     * Sets modules that are trained and saved whole.
     *
     * @param names for example {@code classifier}
     * @return this
     */
    public Builder modulesToSave(String... names) {
      json.set(SAVED, Targets.names(names).json());
      return this;
    }

    /**
     * Sets whether vectors begin as ones; they do if not set.
     *
     * @param value false for random ones
     * @return this
     */
    public Builder initWeights(boolean value) {
      json.put(INIT, value);
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
      json.put(TRANSPOSED, value);
      return this;
    }

    /**
     * Checks and makes the configuration.
     *
     * @return the configuration
     * @throws InvalidConfigException if a value is wrong
     */
    public Ia3Config build() {
      return new Ia3Config(json.deepCopy());
    }
  }
}
