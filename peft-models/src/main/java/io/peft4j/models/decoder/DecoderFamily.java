package io.peft4j.models.decoder;

import io.peft4j.models.ConfigValues;
import io.peft4j.models.ModelFamily;
import io.peft4j.models.Network;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;

/**
 * A family of decoders with its classes {@code XForCausalLM}, {@code XModel} and {@code
 * XForSequenceClassification}. What is left to a family is to read its configuration.
 */
public abstract class DecoderFamily implements ModelFamily {
  static final String PREFIX = "model.";

  private final String modelType;
  private final String causal;
  private final String headless;
  private final String classifier;

  /**
   * A family.
   *
   * @param modelType its name in {@code config.json}
   * @param name what the name of the class for text begins with, for example {@code Llama}
   * @param inner what the names of the other classes begin with, mostly the same
   */
  protected DecoderFamily(String modelType, String name, String inner) {
    this.modelType = modelType;
    causal = name + "ForCausalLM";
    headless = inner + "Model";
    classifier = inner + "ForSequenceClassification";
  }

  /**
   * Reads a configuration.
   *
   * @param config the keys of {@code config.json}
   * @return the configuration
   * @throws io.peft4j.InvalidConfigException if a value is wrong or asks for what is not
   *     implemented
   */
  protected abstract DecoderConfig read(ConfigValues config);

  @Override
  public final String modelType() {
    return modelType;
  }

  @Override
  public final List<String> architectures() {
    return List.of(causal, headless, classifier);
  }

  @Override
  public final String headless() {
    return headless;
  }

  @Override
  public final Optional<String> classifier() {
    return Optional.of(classifier);
  }

  @Override
  public final String prefix() {
    return PREFIX;
  }

  @Override
  public final Network network(
      ConfigValues config, String architecture, Predicate<String> present) {
    DecoderConfig read = read(config);
    if (architecture.equals(classifier)) {
      return new DecoderNetwork(read, DecoderTask.SEQUENCE_CLASSIFICATION, config.labels());
    }
    return new DecoderNetwork(
        read, architecture.equals(causal) ? DecoderTask.NEXT_TOKEN : DecoderTask.HIDDEN_STATES, 0);
  }
}
