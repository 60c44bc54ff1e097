package io.peft4j.models.llama;

import io.peft4j.models.ConfigValues;
import io.peft4j.models.decoder.DecoderConfig;
import io.peft4j.models.decoder.DecoderConfig.Sizes;
import io.peft4j.models.decoder.DecoderFamily;
import io.peft4j.models.decoder.DecoderReader;
import io.peft4j.models.decoder.RopeReader;

/** Llama, and what has its architecture, such as SmolLM2. */
public final class LlamaFamily extends DecoderFamily {
  private static final Sizes DEFAULTS = new Sizes(32000, 4096, 11008, 32, 32, 0, 0, 2048, 1e-6);

  /** The family. */
  public LlamaFamily() {
    super("llama", "Llama", "Llama");
  }

  @Override
  protected DecoderConfig read(ConfigValues config) {
    DecoderConfig.Builder builder = DecoderReader.read(config, modelType(), DEFAULTS);
    Sizes sizes = builder.sizes();
    boolean bias = config.flag("attention_bias", false);
    return builder
        .biases(bias, bias, config.flag("mlp_bias", false))
        .rope(new RopeReader(config, sizes.headSize(), sizes.positions()).read())
        .build();
  }
}
