package io.peft4j.models.qwen3;

import io.peft4j.models.ConfigValues;
import io.peft4j.models.decoder.DecoderConfig;
import io.peft4j.models.decoder.DecoderConfig.Sizes;
import io.peft4j.models.decoder.DecoderFamily;
import io.peft4j.models.decoder.DecoderReader;
import io.peft4j.models.decoder.RopeReader;

/** Qwen 3 without experts: each query and key is normalised. */
public final class Qwen3Family extends DecoderFamily {
  private static final Sizes DEFAULTS =
      new Sizes(151936, 4096, 22016, 32, 32, 32, 128, 32768, 1e-6);

  /** The family. */
  public Qwen3Family() {
    super("qwen3", "Qwen3", "Qwen3");
  }

  @Override
  protected DecoderConfig read(ConfigValues config) {
    config.refuse("mlp_bias");
    DecoderConfig.Builder builder = DecoderReader.read(config, modelType(), DEFAULTS);
    Sizes sizes = builder.sizes();
    boolean bias = config.flag("attention_bias", false);
    return builder
        .headNorms()
        .biases(bias, bias, false)
        .windows(DecoderReader.switchedWindows(config, sizes.layers()))
        .rope(new RopeReader(config, sizes.headSize(), sizes.positions()).read())
        .build();
  }
}
