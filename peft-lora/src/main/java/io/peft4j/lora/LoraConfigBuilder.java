package io.peft4j.lora;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.TaskType;
import io.peft4j.spi.ConfigKeys;
import io.peft4j.target.Targets;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Collects a {@link LoraConfig}; everything is checked in {@link #build()}. */
public final class LoraConfigBuilder {
  private final ObjectNode json;

  LoraConfigBuilder(ObjectNode json) {
    this.json = json;
  }

  /**
   * Sets the rank of A and B.
   *
   * @param rank at least 1; {@value LoraConfig#DEFAULT_RANK} if not set
   * @return this
   */
  public LoraConfigBuilder rank(int rank) {
    json.put("r", rank);
    return this;
  }

  /**
   * Sets alpha: the scaling is alpha/rank.
   *
   * @param alpha above 0; {@value LoraConfig#DEFAULT_ALPHA} if not set
   * @return this
   */
  public LoraConfigBuilder alpha(double alpha) {
    ConfigKeys.putNumber(json, "lora_alpha", alpha);
    return this;
  }

  /**
   * Sets the probability with which values of a layer's input are dropped before A, in training.
   *
   * @param dropout in [0, 1); 0 if not set
   * @return this
   */
  public LoraConfigBuilder dropout(double dropout) {
    json.put("lora_dropout", dropout);
    return this;
  }

  /**
   * Sets the layers to adapt by name: a whole path, or the end of one after a dot.
   *
   * @param names for example {@code q_proj}
   * @return this
   */
  public LoraConfigBuilder targetModules(String... names) {
    return targetModules(Targets.names(names));
  }

  /**
   * Sets the layers to adapt. If not set, the default of the model's architecture is taken.
   *
   * @param targets names, a regular expression for whole paths, or all linear layers
   * @return this
   */
  public LoraConfigBuilder targetModules(Targets targets) {
    put("target_modules", targets);
    return this;
  }

  /**
   * Sets layers to leave out by name.
   *
   * @param names for example {@code lm_head}
   * @return this
   */
  public LoraConfigBuilder excludeModules(String... names) {
    return excludeModules(Targets.names(names));
  }

  /**
   * Sets layers to leave out.
   *
   * @param targets names, or a regular expression for whole paths
   * @return this
   */
  public LoraConfigBuilder excludeModules(Targets targets) {
    put("exclude_modules", targets);
    return this;
  }

  /**
   * Restricts the targets to layers of some indexes.
   *
   * @param indexes from 0
   * @return this
   */
  public LoraConfigBuilder layersToTransform(int... indexes) {
    ArrayNode array = json.putArray("layers_to_transform");
    Arrays.stream(indexes).forEach(array::add);
    return this;
  }

  /**
   * Sets the names after which a path has its layer's index, for {@link #layersToTransform}.
   *
   * @param names for example {@code layers}
   * @return this
   */
  public LoraConfigBuilder layersPattern(String... names) {
    strings("layers_pattern", List.of(names));
    return this;
  }

  /**
   * Sets ranks by path. A key is the end of a path or a regular expression for it; the first that
   * matches counts.
   *
   * @param ranks key to rank, in order
   * @return this
   */
  public LoraConfigBuilder rankPattern(Map<String, Integer> ranks) {
    ObjectNode node = json.putObject("rank_pattern");
    ranks.forEach(node::put);
    return this;
  }

  /**
   * Sets alphas by path. A key is the end of a path or a regular expression for it; the first that
   * matches counts.
   *
   * @param alphas key to alpha, in order
   * @return this
   */
  public LoraConfigBuilder alphaPattern(Map<String, ? extends Number> alphas) {
    ObjectNode node = json.putObject("alpha_pattern");
    alphas.forEach((key, alpha) -> ConfigKeys.putNumber(node, key, alpha.doubleValue()));
    return this;
  }

  /**
   * Sets the modules that are trained and saved whole, beside LoRA.
   *
   * @param names for example {@code classifier}
   * @return this
   */
  public LoraConfigBuilder modulesToSave(String... names) {
    strings("modules_to_save", List.of(names));
    return this;
  }

  /**
   * Sets which biases of the base are trained, in copies of the adapter's own.
   *
   * @param bias none if not set
   * @return this
   */
  public LoraConfigBuilder bias(LoraBias bias) {
    json.put("bias", bias.key());
    return this;
  }

  /**
   * Takes alpha/√rank as the scaling (rank-stabilised LoRA).
   *
   * @param use false if not set
   * @return this
   */
  public LoraConfigBuilder useRslora(boolean use) {
    json.put("use_rslora", use);
    return this;
  }

  /**
   * Adapts magnitude and direction of the weight apart (DoRA).
   *
   * @param use false if not set
   * @return this
   */
  public LoraConfigBuilder useDora(boolean use) {
    json.put("use_dora", use);
    return this;
  }

  /**
   * Gives B a bias.
   *
   * @param use false if not set
   * @return this
   */
  public LoraConfigBuilder loraBias(boolean use) {
    json.put("lora_bias", use);
    return this;
  }

  /**
   * Says how the matrices begin.
   *
   * @param initialization the default rule if not set
   * @return this
   */
  public LoraConfigBuilder initialization(LoraInitialization initialization) {
    json.set("init_lora_weights", initialization.toJson());
    return this;
  }

  /**
   * Says how the matrices begin.
   *
   * @param kind the default rule if not set
   * @return this
   */
  public LoraConfigBuilder initialization(LoraInitialization.Kind kind) {
    return initialization(LoraInitialization.of(kind));
  }

  /**
   * Says what the model is for. For classifiers and question answering the head is then trained and
   * saved with the adapter.
   *
   * @param type none if not set
   * @return this
   */
  public LoraConfigBuilder taskType(TaskType type) {
    json.put("task_type", type.name());
    return this;
  }

  /**
   * Trains the input embeddings of some tokens, and the output embeddings if they are tied.
   *
   * @param tokens token ids
   * @return this
   */
  public LoraConfigBuilder trainableTokenIndices(int... tokens) {
    ArrayNode array = json.putArray("trainable_token_indices");
    Arrays.stream(tokens).forEach(array::add);
    return this;
  }

  /**
   * Trains rows of embeddings.
   *
   * @param tokens the end of an embedding's path to row indexes
   * @return this
   */
  public LoraConfigBuilder trainableTokenIndices(Map<String, List<Integer>> tokens) {
    ObjectNode node = json.putObject("trainable_token_indices");
    tokens.forEach(
        (path, rows) -> {
          ArrayNode array = node.putArray(path);
          rows.forEach(array::add);
        });
    return this;
  }

  /**
   * Finishes the configuration.
   *
   * @return the configuration
   * @throws io.peft4j.InvalidConfigException if a value is out of range or two contradict each
   *     other
   */
  public LoraConfig build() {
    return new LoraConfig(json.deepCopy());
  }

  LoraConfigBuilder fanInFanOut(boolean transposed) {
    json.put("fan_in_fan_out", transposed);
    return this;
  }

  LoraConfigBuilder modulesToSave(@Nullable Collection<String> names) {
    if (names == null || names.isEmpty()) {
      json.putNull("modules_to_save");
    } else {
      strings("modules_to_save", names);
    }
    return this;
  }

  private void put(String key, Targets targets) {
    json.set(key, targets.json());
  }

  private void strings(String key, Collection<String> values) {
    ArrayNode array = json.putArray(key);
    values.forEach(array::add);
  }
}
