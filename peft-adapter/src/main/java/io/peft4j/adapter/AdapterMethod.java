package io.peft4j.adapter;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.spi.AttachContext;
import io.peft4j.spi.PeftMethod;
import io.peft4j.state.AdapterState;
import io.peft4j.state.SavedAdapter;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;

/**
 * Bottleneck adapters as a method: attaches {@link AdapterConfig}s, in {@link AdapterHubDirectory
 * AdapterHub's directories}. Found by {@link java.util.ServiceLoader}.
 *
 * <p>State keys are {@code base_model.model.}, AdapterHub's path of the module, {@code .adapters.}
 * and {@code adapter_down.0.weight}, {@code adapter_down.0.bias} (1 in the place of 0 where 0 is
 * the norm of {@code ln_before}), {@code adapter_up.weight}, {@code adapter_up.bias}, and where
 * there are such {@code scaling}, {@code gate.weight}, {@code gate.bias}, {@code
 * adapter_norm_after.weight}, {@code adapter_norm_after.bias}. The module is the join's own path,
 * but {@code attention_adapters} and {@code output_adapters} of the layer where the model does not
 * normalise after the residual.
 */
public final class AdapterMethod implements PeftMethod {
  private static final String PRESET = "preset";

  /** Made by the service loader. */
  public AdapterMethod() {}

  @Override
  public String keySpace() {
    return "adapter_weights";
  }

  @Override
  public String name() {
    return AdapterConfig.NAME;
  }

  @Override
  public Class<? extends PeftConfig> configType() {
    return AdapterConfig.class;
  }

  @Override
  public PeftConfig readConfig(ObjectNode json) {
    return AdapterConfig.fromJson(json);
  }

  @Override
  public double learningRate() {
    // What AdapterHub's documentation recommends.
    return 1e-4;
  }

  @Override
  public Set<String> settings() {
    Set<String> settings = new HashSet<>(BottleneckKeys.SETTINGS);
    settings.addAll(Set.of(PRESET, AdapterConfig.SAVED, "task_type"));
    return settings;
  }

  @Override
  public PeftConfig readSettings(ObjectNode settings) {
    ObjectNode own = settings.deepCopy();
    String preset = own.has(PRESET) ? own.remove(PRESET).asText() : "seq_bn";
    ObjectNode json = AdapterConfig.preset(preset).build().toJson();
    ObjectNode flat = ((ObjectNode) json.get(AdapterConfig.CONFIG)).deepCopy();
    flat.setAll(own);
    return AdapterConfig.fromJson(flat);
  }

  @Override
  public void attach(AttachContext context, AdapterBuilder adapter) {
    if (context.layout().joins().isEmpty()) {
      throw new InvalidConfigException(
          "bottleneck adapters need a model that says where its sub-layers meet the residual; a"
              + " model of type '"
              + context.layout().modelType()
              + "' does not");
    }
    new BottleneckAttachment(context, adapter, context.config(AdapterConfig.class)).run();
  }

  @Override
  public boolean recognises(Path directory) {
    return AdapterHubDirectory.recognises(directory);
  }

  @Override
  public SavedAdapter read(Path directory) {
    return AdapterHubDirectory.read(directory);
  }

  @Override
  public void write(Path directory, AdapterState state) {
    AdapterHubDirectory.write(directory, state);
  }
}
