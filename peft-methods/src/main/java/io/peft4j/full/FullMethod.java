package io.peft4j.full;

import ai.djl.ndarray.NDArray;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.spi.AttachContext;
import io.peft4j.spi.PeftMethod;
import io.peft4j.target.ModelLayout;
import io.peft4j.target.ParameterPatterns;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
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
    Map<String, NDArray> saved = context.saved().orElse(null);
    if (saved != null) {
      check(layout, trained, saved);
    }
    for (String name : trained) {
      NDArray values = saved == null ? context.parameter(name).dense() : saved.get(name);
      if (values == null) {
        throw new IllegalStateException(name + " was checked to be there");
      }
      NDArray copy = values.duplicate();
      adapter.override(name, name, copy, true);
      layout
          .tied()
          .forEach(
              (alias, shared) -> {
                if (shared.equals(name)) {
                  adapter.overrideTied(alias, copy);
                }
              });
      adapter.report(name, "trained itself", "not frozen");
    }
  }

  private static void check(ModelLayout layout, Set<String> trained, Map<String, NDArray> saved) {
    List<String> problems = new ArrayList<>();
    for (String name : trained) {
      NDArray array = saved.get(name);
      if (array == null) {
        problems.add("missing " + name);
      } else if (!array.getShape().equals(layout.parameters().get(name))) {
        problems.add(
            name
                + " has shape "
                + array.getShape()
                + " where "
                + layout.parameters().get(name)
                + " is needed");
      }
    }
    saved.keySet().stream()
        .filter(name -> !trained.contains(name))
        .forEach(name -> problems.add("no place for " + name));
    if (!problems.isEmpty()) {
      throw new AdapterStateException(
          "the tensors do not fit this "
              + layout.modelType()
              + " model: "
              + String.join("; ", problems.subList(0, Math.min(3, problems.size())))
              + (problems.size() > 3 ? "; and " + (problems.size() - 3) + " more" : ""));
    }
  }
}
