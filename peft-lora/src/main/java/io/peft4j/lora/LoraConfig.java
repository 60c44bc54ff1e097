package io.peft4j.lora;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import io.peft4j.TaskType;
import io.peft4j.spi.ConfigKeys;
import io.peft4j.target.PatternTable;
import io.peft4j.target.TargetSelection;
import io.peft4j.target.Targets;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The configuration of a LoRA adapter: a checked view of the keys of Hugging Face PEFT's {@code
 * adapter_config.json}. Every key of PEFT 0.21 is read and kept; one that asks for what is not
 * implemented here is refused by name. Immutable.
 *
 * <pre>{@code
 * LoraConfig config = LoraConfig.builder().rank(8).alpha(16).targetModules("q_proj", "v_proj").build();
 * }</pre>
 */
public final class LoraConfig implements PeftConfig {
  /** Rank where none is given. */
  public static final int DEFAULT_RANK = 8;

  /** Alpha where none is given. */
  public static final double DEFAULT_ALPHA = 8;

  private final ObjectNode json;
  private final int rank;
  private final double alpha;
  private final double dropout;
  private final @Nullable Targets targetModules;
  private final @Nullable Targets excludeModules;
  private final List<Integer> layersToTransform;
  private final List<String> layersPattern;
  private final PatternTable<Integer> rankPattern;
  private final PatternTable<Double> alphaPattern;
  private final List<String> modulesToSave;
  private final LoraBias bias;
  private final LoraInitialization initialization;
  private final @Nullable TaskType taskType;
  private final boolean useRslora;
  private final boolean useDora;
  private final boolean loraBias;
  private final boolean fanInFanOut;
  private final Map<String, List<Integer>> trainableTokenIndices;

  LoraConfig(ObjectNode json) {
    this.json = json;
    ConfigKeys keys = new ConfigKeys(json);
    LoraKeys own = new LoraKeys(keys);
    rank = keys.positiveInteger("r");
    alpha = keys.positiveNumber("lora_alpha");
    dropout = keys.fraction("lora_dropout");
    targetModules = keys.targets("target_modules");
    excludeModules = keys.targets("exclude_modules");
    layersToTransform = keys.integers("layers_to_transform");
    layersPattern = keys.strings("layers_pattern");
    rankPattern = own.rankPattern();
    alphaPattern = own.alphaPattern();
    modulesToSave = keys.strings("modules_to_save");
    bias = own.bias();
    initialization = LoraInitialization.parse(keys.value("init_lora_weights"));
    taskType = keys.taskType().orElse(null);
    useRslora = keys.flag("use_rslora");
    useDora = keys.flag("use_dora");
    loraBias = keys.flag("lora_bias");
    fanInFanOut = keys.flag("fan_in_fan_out");
    trainableTokenIndices = own.tokenIndices();
    own.refuseUnimplemented();
    checkTogether();
  }

  private void checkTogether() {
    TargetSelection.checkLayers(targetModules, layersToTransform, layersPattern);
    if (loraBias && useDora) {
      throw new InvalidConfigException("lora_bias cannot be used together with use_dora");
    }
    if (loraBias
        && initialization.kind() != LoraInitialization.Kind.DEFAULT
        && initialization.kind() != LoraInitialization.Kind.RANDOM) {
      throw new InvalidConfigException(
          "lora_bias needs init_lora_weights true or false, was " + json.get("init_lora_weights"));
    }
    if (useDora && initialization.takesFromBase()) {
      throw new InvalidConfigException(
          "use_dora cannot be used together with init_lora_weights "
              + json.get("init_lora_weights")
              + ": its norm is that of the whole base weight");
    }
  }

  /**
   * Starts a configuration with PEFT's defaults.
   *
   * @return a builder
   */
  public static LoraConfigBuilder builder() {
    return new LoraConfigBuilder(LoraKeys.defaults());
  }

  /**
   * Starts from this configuration.
   *
   * @return a builder with the same values
   */
  public LoraConfigBuilder toBuilder() {
    return new LoraConfigBuilder(json.deepCopy());
  }

  /**
   * Reads the content of {@code adapter_config.json}. Keys that are missing have PEFT's defaults.
   *
   * @param json the content
   * @return the configuration
   * @throws InvalidConfigException if a value is wrong or asks for what is not implemented
   */
  public static LoraConfig fromJson(ObjectNode json) {
    ObjectNode all = LoraKeys.defaults();
    all.setAll(json);
    return new LoraConfig(all);
  }

  @Override
  public String peftType() {
    return LoraMethod.NAME;
  }

  @Override
  public ObjectNode toJson() {
    return json.deepCopy();
  }

  /**
   * The rank where {@link #rankPattern()} names no other.
   *
   * @return {@code r}
   */
  public int rank() {
    return rank;
  }

  /**
   * The rank at a layer.
   *
   * @param path the layer's path
   * @return its rank
   */
  public int rank(String path) {
    return rankPattern.valueFor(path, rank);
  }

  /**
   * Alpha where {@link #alphaPattern()} names no other.
   *
   * @return {@code lora_alpha}
   */
  public double alpha() {
    return alpha;
  }

  /**
   * Alpha at a layer.
   *
   * @param path the layer's path
   * @return its alpha
   */
  public double alpha(String path) {
    return alphaPattern.valueFor(path, alpha);
  }

  /**
   * The scaling at a layer: alpha/rank, or alpha/√rank for rank-stabilised LoRA.
   *
   * @param path the layer's path
   * @return s in ΔW = s·B·A
   */
  public double scaling(String path) {
    return scaling(path, rank(path));
  }

  /**
   * The scaling where the tensors, not the patterns, say what the rank is.
   *
   * @param path the layer's path
   * @param actualRank the rank of the layer's tensors
   * @return the factor on B·A
   */
  public double scaling(String path, long actualRank) {
    return alpha(path) / (useRslora ? Math.sqrt(actualRank) : actualRank);
  }

  /**
   * Ranks by path; the first pattern that matches counts.
   *
   * @return {@code rank_pattern}
   */
  public PatternTable<Integer> rankPattern() {
    return rankPattern;
  }

  /**
   * Alphas by path; the first pattern that matches counts.
   *
   * @return {@code alpha_pattern}
   */
  public PatternTable<Double> alphaPattern() {
    return alphaPattern;
  }

  /**
   * The probability with which values of a layer's input are dropped before A, in training.
   *
   * @return {@code lora_dropout}
   */
  public double dropout() {
    return dropout;
  }

  /**
   * The layers to adapt.
   *
   * @return {@code target_modules}; empty for the default of the model's architecture
   */
  public Optional<Targets> targetModules() {
    return Optional.ofNullable(targetModules);
  }

  /**
   * The layers to leave out.
   *
   * @return {@code exclude_modules}
   */
  public Optional<Targets> excludeModules() {
    return Optional.ofNullable(excludeModules);
  }

  /**
   * The indexes of the layers to adapt; empty for all.
   *
   * @return {@code layers_to_transform}
   */
  public List<Integer> layersToTransform() {
    return layersToTransform;
  }

  /**
   * The names after which a path has a layer's index; empty for any.
   *
   * @return {@code layers_pattern}
   */
  public List<String> layersPattern() {
    return layersPattern;
  }

  /**
   * The modules that are trained and saved whole.
   *
   * @return {@code modules_to_save}
   */
  public List<String> modulesToSave() {
    return modulesToSave;
  }

  /**
   * Which biases of the base are trained.
   *
   * @return {@code bias}
   */
  public LoraBias bias() {
    return bias;
  }

  /**
   * How the matrices begin.
   *
   * @return {@code init_lora_weights}
   */
  public LoraInitialization initialization() {
    return initialization;
  }

  /**
   * What the model is for.
   *
   * @return {@code task_type}
   */
  public Optional<TaskType> taskType() {
    return Optional.ofNullable(taskType);
  }

  /**
   * Whether the scaling is alpha/√rank.
   *
   * @return {@code use_rslora}
   */
  public boolean useRslora() {
    return useRslora;
  }

  /**
   * Whether magnitude and direction of the weight are adapted apart (DoRA).
   *
   * @return {@code use_dora}
   */
  public boolean useDora() {
    return useDora;
  }

  /**
   * Whether B has a bias.
   *
   * @return {@code lora_bias}
   */
  public boolean loraBias() {
    return loraBias;
  }

  /**
   * Whether adapted linear layers store W as [in, out]. The model knows; this is only what the file
   * says.
   *
   * @return {@code fan_in_fan_out}
   */
  public boolean fanInFanOut() {
    return fanInFanOut;
  }

  /**
   * The tokens whose embeddings are trained, by the end of the embedding's path; the key {@code ""}
   * stands for the input embedding.
   *
   * @return {@code trainable_token_indices}, in the order given
   */
  public Map<String, List<Integer>> trainableTokenIndices() {
    return trainableTokenIndices;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof LoraConfig config && json.equals(config.json);
  }

  @Override
  public int hashCode() {
    return json.hashCode();
  }

  @Override
  public String toString() {
    return "LoraConfig" + json;
  }
}
