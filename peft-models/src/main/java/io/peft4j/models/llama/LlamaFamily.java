package io.peft4j.models.llama;

import io.peft4j.models.ConfigValues;
import io.peft4j.models.ModelFamily;
import io.peft4j.models.Network;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;

/** Llama: {@code LlamaForCausalLM} and {@code LlamaModel}. */
public final class LlamaFamily implements ModelFamily {
  static final String PREFIX = "model.";
  private static final String CAUSAL = "LlamaForCausalLM";
  private static final String HEADLESS = "LlamaModel";

  @Override
  public String modelType() {
    return "llama";
  }

  @Override
  public List<String> architectures() {
    return List.of(CAUSAL, HEADLESS);
  }

  @Override
  public String headless() {
    return HEADLESS;
  }

  @Override
  public Optional<String> classifier() {
    return Optional.empty();
  }

  @Override
  public String prefix() {
    return PREFIX;
  }

  @Override
  public Network network(ConfigValues config, String architecture, Predicate<String> present) {
    return new LlamaNetwork(LlamaConfig.read(config), architecture.equals(CAUSAL));
  }
}
