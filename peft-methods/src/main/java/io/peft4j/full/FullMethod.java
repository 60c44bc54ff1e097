package io.peft4j.full;

import ai.djl.ndarray.NDArray;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import io.peft4j.nn.Weight;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.spi.AttachContext;
import io.peft4j.spi.PeftMethod;
import io.peft4j.spi.SavedTensors;
import io.peft4j.target.ModelLayout;
import io.peft4j.target.ParameterPatterns;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Set;

/**
 * Full fine-tuning as a method. Found by {@link java.util.ServiceLoader}.
 *
 * <p>State keys are the names of the trained parameters, as Hugging Face has them; a tied parameter
 * has one. A directory of this method holds them in {@code adapter_model.safetensors}, and the
 * patterns in {@code adapter_config.json} under {@code freeze}, with {@code peft_type} {@code
 * FULL}, which only this library reads. For others merge it and save the model.
 */
public final class FullMethod implements PeftMethod {
  /** Made by the service loader. */
  public FullMethod() {}

  @Override
  public String name() {
    return FullConfig.NAME;
  }

  @Override
  public Class<? extends PeftConfig> configType() {
    return FullConfig.class;
  }

  @Override
  public PeftConfig readConfig(ObjectNode json) {
    return FullConfig.fromJson(json);
  }

  @Override
  public double learningRate() {
    return FullConfig.LEARNING_RATE;
  }

  @Override
  public Set<String> settings() {
    return Set.of(FullConfig.FREEZE);
  }

  @Override
  public void attach(AttachContext context, AdapterBuilder adapter) {
    ModelLayout layout = context.layout();
    FullConfig config = context.config(FullConfig.class);
    Set<String> trained = new LinkedHashSet<>(layout.parameters().keySet());
    for (String name : ParameterPatterns.matching(FullConfig.FREEZE, config.freeze(), layout)) {
      trained.remove(layout.tied().getOrDefault(name, name));
    }
    if (trained.isEmpty()) {
      throw new InvalidConfigException(
          FullConfig.FREEZE + " " + config.freeze() + " leaves no parameter to train");
    }
    SavedTensors saved = context.saved().isPresent() ? new SavedTensors(context, "") : null;
    Map<String, NDArray> copies = new LinkedHashMap<>();
    for (String name : trained) {
      Weight own = context.parameter(name);
      NDArray copy = saved == null ? context.own(own.dense()) : saved.require(name, own.shape());
      if (copy != null) {
        copies.put(name, copy);
      }
    }
    if (saved != null) {
      saved.finish();
    }
    copies.forEach((name, copy) -> put(adapter, layout, name, copy));
  }

  private static void put(AdapterBuilder adapter, ModelLayout layout, String name, NDArray copy) {
    adapter.override(name, name, copy, true);
    adapter.report(name, "trained itself", "not frozen");
    layout
        .tied()
        .forEach(
            (alias, shared) -> {
              if (shared.equals(name)) {
                adapter.overrideTied(alias, copy);
              }
            });
  }
}
