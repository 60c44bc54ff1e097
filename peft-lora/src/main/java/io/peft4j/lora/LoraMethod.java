package io.peft4j.lora;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.PeftConfig;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.spi.AttachContext;
import io.peft4j.spi.PeftMethod;
import io.peft4j.state.SavedAdapter;
import java.nio.file.Path;
import java.util.Set;

/** LoRA as a method: attaches {@link LoraConfig}s. Found by {@link java.util.ServiceLoader}. */
public final class LoraMethod implements PeftMethod {
  /** {@code peft_type}. */
  static final String NAME = "LORA";

  /** Made by the service loader. */
  public LoraMethod() {}

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public Class<? extends PeftConfig> configType() {
    return LoraConfig.class;
  }

  @Override
  public PeftConfig readConfig(ObjectNode json) {
    return LoraConfig.fromJson(json);
  }

  @Override
  public Set<String> settings() {
    return LoraSettings.all();
  }

  @Override
  public PeftConfig readSettings(ObjectNode settings) {
    return readConfig(LoraSettings.config(settings));
  }

  @Override
  public boolean recognises(Path directory) {
    return PeftMethod.super.recognises(directory) || AdapterHubLora.recognises(directory);
  }

  @Override
  public SavedAdapter read(Path directory) {
    return AdapterHubLora.recognises(directory)
        ? AdapterHubLora.read(directory)
        : PeftMethod.super.read(directory);
  }

  @Override
  public void attach(AttachContext context, AdapterBuilder adapter) {
    if (context.saved().isPresent()) {
      new LoraLoading(context, adapter).run();
    } else {
      new LoraCreation(context, adapter).run();
    }
  }
}
