package io.peft4j.models.phi3;

import io.peft4j.models.ConfigValues;
import io.peft4j.models.decoder.DecoderConfig;
import io.peft4j.models.decoder.DecoderConfig.Sizes;
import io.peft4j.models.decoder.DecoderFamily;
import io.peft4j.models.decoder.DecoderReader;
import io.peft4j.models.decoder.RopeReader;

/** Phi-3, 3.5 and 4: joined projections, dropout before the residual stream, long factors. */
public final class Phi3Family extends DecoderFamily {
  private static final Sizes DEFAULTS = new Sizes(32064, 3072, 8192, 32, 32, 0, 0, 4096, 1e-5);
  private static final int TRAINED = 4096;
  private static final int PADDING = 32000;

  /** The family. */
  public Phi3Family() {
    super("phi3", "Phi3", "Phi3");
  }

  @Override
  protected DecoderConfig read(ConfigValues config) {
    config.refuse("attention_bias", "mlp_bias");
    DecoderConfig.Builder builder = DecoderReader.read(config, modelType(), DEFAULTS);
    Sizes sizes = builder.sizes();
    if (!config.has("pad_token_id") && !config.isNull("pad_token_id")) {
      builder.padding(PADDING);
    }
    return builder
        .joinedProjections()
        .dropout(config.dropout("attention_dropout", 0), config.dropout("resid_pdrop", 0))
        .windows(DecoderReader.windows(config, sizes.layers(), 0))
        .rope(new RopeReader(config, sizes.headSize(), sizes.positions()).readPartial(TRAINED))
        .build();
  }
}
