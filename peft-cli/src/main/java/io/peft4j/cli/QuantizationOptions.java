package io.peft4j.cli;

import io.peft4j.qlora.BitsAndBytesConfig;
import io.peft4j.qlora.block.QuantType;
import picocli.CommandLine.Option;

/** How weights are quantized: what several commands share. */
final class QuantizationOptions {
  @Option(
      names = "--type",
      paramLabel = "TYPE",
      defaultValue = "nf4",
      description = "nf4 or fp4 (default: ${DEFAULT-VALUE}).")
  private String type = "";

  @Option(names = "--double-quant", description = "Quantize the scales too, to 8 bits.")
  private boolean doubleQuantization;

  @Option(
      names = "--block",
      paramLabel = "VALUES",
      defaultValue = "64",
      description =
          "How many values share a scale: 32, 64, 128, 256, 512, 1024, 2048 or 4096 (default:"
              + " ${DEFAULT-VALUE}).")
  private int block;

  /** What was asked for, to which more may be added. */
  BitsAndBytesConfig.Builder config() {
    return BitsAndBytesConfig.builder()
        .type(QuantType.named(type))
        .blockSize(block)
        .doubleQuantization(doubleQuantization);
  }
}
