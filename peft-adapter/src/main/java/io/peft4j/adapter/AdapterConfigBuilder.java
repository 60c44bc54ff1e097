package io.peft4j.adapter;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.TaskType;
import io.peft4j.spi.ConfigKeys;
import io.peft4j.target.Targets;
import java.util.Arrays;
import java.util.Map;

/**
 * Collects the settings of an {@link AdapterConfig}; everything is checked in {@link #build}. For
 * the use of one thread.
 */
public final class AdapterConfigBuilder {
  private final ObjectNode json;

  AdapterConfigBuilder(ObjectNode json) {
    this.json = json;
  }

  private ObjectNode bottleneck() {
    return (ObjectNode) json.get(AdapterConfig.CONFIG);
  }

  private AdapterConfigBuilder flag(String key, boolean value) {
    bottleneck().put(key, value);
    return this;
  }

  /**
   * Sets the name that the adapter has in its files.
   *
   * @param value without a dot; {@code default} if not set
   * @return this
   */
  public AdapterConfigBuilder name(String value) {
    json.put(AdapterConfig.ADAPTER, value);
    return this;
  }

  /**
   * Sets whether adapters stand after attention.
   *
   * @param value {@code mh_adapter}
   * @return this
   */
  public AdapterConfigBuilder afterAttention(boolean value) {
    return flag(BottleneckKeys.ATTENTION, value);
  }

  /**
   * Sets whether adapters stand after the feed-forward.
   *
   * @param value {@code output_adapter}
   * @return this
   */
  public AdapterConfigBuilder afterFeedForward(boolean value) {
    return flag(BottleneckKeys.FEED_FORWARD, value);
  }

  /**
   * Sets how many times narrower the middle is than the hidden values; it has at least one value.
   *
   * @param value above 0; below 1 the middle is wider
   * @return this
   */
  public AdapterConfigBuilder reductionFactor(double value) {
    ConfigKeys.putNumber(bottleneck(), BottleneckKeys.REDUCTION, value);
    return this;
  }

  /**
   * Sets how many times narrower the middle is than the hidden values, by layer.
   *
   * @param layers index to a factor above 0
   * @param others the factor of all other layers
   * @return this
   */
  public AdapterConfigBuilder reductionFactors(Map<Integer, Double> layers, double others) {
    ObjectNode map = bottleneck().putObject(BottleneckKeys.REDUCTION);
    layers.forEach((layer, factor) -> ConfigKeys.putNumber(map, layer.toString(), factor));
    ConfigKeys.putNumber(map, "default", others);
    return this;
  }

  /**
   * Sets the function in the middle.
   *
   * @param value {@code non_linearity}
   * @return this
   */
  public AdapterConfigBuilder nonLinearity(NonLinearity value) {
    bottleneck().put(BottleneckKeys.NON_LINEARITY, value.key());
    return this;
  }

  /**
   * Sets whether adapters stand beside a sub-layer, not after it.
   *
   * @param value {@code is_parallel}
   * @return this
   */
  public AdapterConfigBuilder parallel(boolean value) {
    return flag(BottleneckKeys.PARALLEL, value);
  }

  /**
   * Sets the factor on what is added.
   *
   * @param value {@code scaling}
   * @return this
   */
  public AdapterConfigBuilder scaling(Scaling value) {
    switch (value.kind()) {
      case FIXED -> bottleneck().put(BottleneckKeys.SCALING, value.factor());
      case LEARNED -> bottleneck().put(BottleneckKeys.SCALING, "learned");
      case CHANNEL -> bottleneck().put(BottleneckKeys.SCALING, "channel");
    }
    return this;
  }

  /**
   * Sets whether a learned gate multiplies what is added: the mean over all tokens of a row,
   * padding included, as AdapterHub has it.
   *
   * @param value {@code use_gating}
   * @return this
   */
  public AdapterConfigBuilder gating(boolean value) {
    return flag(BottleneckKeys.GATING, value);
  }

  /**
   * Sets what goes round the projections of a sequential adapter.
   *
   * @param value {@code residual_before_ln}
   * @return this
   */
  public AdapterConfigBuilder residual(AdapterResidual value) {
    bottleneck().set(BottleneckKeys.RESIDUAL, value.value());
    return this;
  }

  /**
   * Sets whether the residual and the model's norm come before a sequential adapter.
   *
   * @param value {@code original_ln_before}
   * @return this
   */
  public AdapterConfigBuilder originalNormBefore(boolean value) {
    return flag(BottleneckKeys.ORIGINAL_BEFORE, value);
  }

  /**
   * Sets whether the residual and the model's norm come after the adapter.
   *
   * @param value {@code original_ln_after}
   * @return this
   */
  public AdapterConfigBuilder originalNormAfter(boolean value) {
    return flag(BottleneckKeys.ORIGINAL_AFTER, value);
  }

  /**
   * Sets whether the adapter begins with a norm of its own.
   *
   * @param value {@code ln_before}
   * @return this
   */
  public AdapterConfigBuilder normBefore(boolean value) {
    return flag(BottleneckKeys.NORM_BEFORE, value);
  }

  /**
   * Sets whether the adapter ends with a norm of its own.
   *
   * @param value {@code ln_after}
   * @return this
   */
  public AdapterConfigBuilder normAfter(boolean value) {
    return flag(BottleneckKeys.NORM_AFTER, value);
  }

  /**
   * Sets whether that norm takes in what goes round the projections.
   *
   * @param value {@code adapter_residual_before_ln}
   * @return this
   */
  public AdapterConfigBuilder residualBeforeNormAfter(boolean value) {
    return flag(BottleneckKeys.RESIDUAL_BEFORE_AFTER, value);
  }

  /**
   * Sets the layers without adapters.
   *
   * @param layers indexes from 0
   * @return this
   */
  public AdapterConfigBuilder leaveOut(int... layers) {
    ArrayNode array = bottleneck().putArray(BottleneckKeys.LEAVE_OUT);
    Arrays.stream(layers).forEach(array::add);
    return this;
  }

  /**
   * Sets the probability with which values of what is added are dropped in training.
   *
   * @param value in [0, 1)
   * @return this
   */
  public AdapterConfigBuilder dropout(double value) {
    bottleneck().put(BottleneckKeys.DROPOUT, value);
    return this;
  }

  /**
   * Sets the probability with which a row loses all that a sequential adapter adds, in training.
   *
   * @param value in [0, 1)
   * @return this
   */
  public AdapterConfigBuilder stochasticDepth(double value) {
    bottleneck().put(BottleneckKeys.DEPTH, value);
    return this;
  }

  /**
   * Sets what a new adapter begins with.
   *
   * @param value {@code init_weights}
   * @return this
   */
  public AdapterConfigBuilder initialization(Initialization value) {
    bottleneck().put(BottleneckKeys.INIT, value.key());
    return this;
  }

  /**
   * Sets modules that are trained and saved whole, as heads in AdapterHub's sense.
   *
   * @param names for example {@code classifier}
   * @return this
   */
  public AdapterConfigBuilder modulesToSave(String... names) {
    json.set(AdapterConfig.SAVED, Targets.names(names).json());
    return this;
  }

  /**
   * Sets the task, whose head is then trained and saved too.
   *
   * @param value the task
   * @return this
   */
  public AdapterConfigBuilder taskType(TaskType value) {
    json.put("task_type", value.name());
    return this;
  }

  AdapterConfigBuilder model(long hidden, String modelType) {
    json.put(AdapterConfig.HIDDEN, Math.toIntExact(hidden));
    json.put(AdapterConfig.MODEL_TYPE, modelType);
    return this;
  }

  /**
   * Checks and makes the configuration.
   *
   * @return the configuration
   * @throws InvalidConfigException if a value is wrong
   */
  public AdapterConfig build() {
    return new AdapterConfig(json.deepCopy());
  }
}
