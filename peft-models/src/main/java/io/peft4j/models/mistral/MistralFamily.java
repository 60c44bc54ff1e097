package io.peft4j.models.mistral;

import io.peft4j.models.ConfigValues;
import io.peft4j.models.decoder.DecoderConfig;
import io.peft4j.models.decoder.DecoderConfig.Sizes;
import io.peft4j.models.decoder.DecoderFamily;
import io.peft4j.models.decoder.DecoderReader;
import io.peft4j.models.decoder.RopeReader;

/** Mistral: a window in all layers, unless {@code sliding_window} is null. */
public final class MistralFamily extends DecoderFamily {
  private static final Sizes DEFAULTS = new Sizes(32000, 4096, 14336, 32, 32, 8, 0, 131072, 1e-6);

  /** The family. */
  public MistralFamily() {
    super("mistral", "Mistral", "Mistral");
  }

  @Override
  protected DecoderConfig read(ConfigValues config) {
    config.refuse("attention_bias", "mlp_bias");
    DecoderConfig.Builder builder = DecoderReader.read(config, modelType(), DEFAULTS);
    Sizes sizes = builder.sizes();
    return builder
        .windows(DecoderReader.windows(config, sizes.layers(), 4096))
        .rope(new RopeReader(config, sizes.headSize(), sizes.positions()).read())
        .build();
  }
}
