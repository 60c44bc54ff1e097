package io.peft4j.models.qwen2;

import io.peft4j.models.ConfigValues;
import io.peft4j.models.decoder.DecoderConfig;
import io.peft4j.models.decoder.DecoderConfig.Sizes;
import io.peft4j.models.decoder.DecoderFamily;
import io.peft4j.models.decoder.DecoderReader;
import io.peft4j.models.decoder.RopeReader;

/** Qwen 2 and 2.5: queries, keys and values always have a bias. */
public final class Qwen2Family extends DecoderFamily {
  private static final Sizes DEFAULTS = new Sizes(151936, 4096, 22016, 32, 32, 32, 0, 32768, 1e-6);

  /** The family. */
  public Qwen2Family() {
    super("qwen2", "Qwen2", "Qwen2");
  }

  @Override
  protected DecoderConfig read(ConfigValues config) {
    config.refuse("mlp_bias");
    DecoderConfig.Builder builder = DecoderReader.read(config, modelType(), DEFAULTS);
    Sizes sizes = builder.sizes();
    return builder
        .biases(true, false, false)
        .windows(DecoderReader.switchedWindows(config, sizes.layers()))
        .rope(new RopeReader(config, sizes.headSize(), sizes.positions()).read())
        .build();
  }
}
