package io.peft4j.vera;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.spi.AttachContext;
import io.peft4j.spi.PeftMethod;
import java.util.Set;

/**
 * VeRA as a method. Found by {@link java.util.ServiceLoader}.
 *
 * <p>State keys are {@code base_model.model.<path>.vera_lambda_d} [r] and {@code .vera_lambda_b}
 * [out] of each layer, and {@code base_model.vera_A} [r, largest in] and {@code base_model.vera_B}
 * [largest out, r] if the projection is saved.
 */
public final class VeraMethod implements PeftMethod {
  /** Made by the service loader. */
  public VeraMethod() {}

  @Override
  public String name() {
    return VeraConfig.NAME;
  }

  @Override
  public Class<? extends PeftConfig> configType() {
    return VeraConfig.class;
  }

  @Override
  public PeftConfig readConfig(ObjectNode json) {
    return VeraConfig.fromJson(json);
  }

  @Override
  public double learningRate() {
    // That of the paper's instruction tuning.
    return 4e-3;
  }

  @Override
  public Set<String> settings() {
    return Set.of(
        "r",
        "target_modules",
        "layers_to_transform",
        "layers_pattern",
        "modules_to_save",
        "projection_prng_key",
        "save_projection",
        "vera_dropout",
        "d_initial",
        "bias",
        "init_weights",
        "task_type");
  }

  @Override
  public void attach(AttachContext context, AdapterBuilder adapter) {
    VeraConfig config = context.config(VeraConfig.class);
    if (context.weightsOnly() && config.dropout() > 0) {
      throw new InvalidConfigException(
          "vera_dropout must be 0 for a stock network, whose layers are given W + ΔW and see no"
              + " dropped input; was "
              + config.dropout());
    }
    new VeraAttachment(context, adapter, config).run();
  }

  static NDArray full(AttachContext context, long size, double value) {
    return context.manager().full(new Shape(size), (float) value, DataType.FLOAT32);
  }
}
