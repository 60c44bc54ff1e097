package io.peft4j.cli;

import io.peft4j.MalformedFileException;
import io.peft4j.qlora.BitsAndBytesConfig;
import io.peft4j.qlora.BitsAndBytesFormat;
import io.peft4j.qlora.QuantizedTensor;
import io.peft4j.state.Checkpoint;
import io.peft4j.state.SafeTensorsWriter;
import io.peft4j.state.SafeTensorsWriter.Entry;
import io.peft4j.state.TensorType;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Writes one tensor in 4 bits, and what it is unpacked to. */
@Command(
    name = "quantize-tensor",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Writes one tensor of a safetensors file in 4 bits, as bitsandbytes has it: weight,"
          + " weight.absmax, weight.quant_map and so on; and as dequantized the values that it is"
          + " unpacked to, in the tensor's own type."
    })
final class QuantizeTensorCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--in",
      required = true,
      paramLabel = "FILE",
      description = "A safetensors file, or a directory of shards.")
  private Path source = Path.of("");

  @Option(
      names = "--tensor",
      required = true,
      paramLabel = "KEY",
      description = "The tensor's name; it must be of type F32, BF16 or F16.")
  private String key = "";

  @Option(
      names = "--out",
      required = true,
      paramLabel = "FILE",
      description = "The safetensors file to write; an existing one is replaced.")
  private Path target = Path.of("");

  @Mixin private QuantizationOptions options = new QuantizationOptions();

  /** Made by picocli. */
  QuantizeTensorCommand() {}

  @Override
  public Integer call() {
    BitsAndBytesConfig config = options.config().build();
    if (!Files.exists(source)) {
      throw new MalformedFileException("--in: " + source + " does not exist");
    }
    try (Checkpoint checkpoint = Checkpoint.open(source);
        QuantizedTensor tensor = QuantizedTensor.quantize(config, checkpoint, key, key)) {
      List<Entry> entries =
          new ArrayList<>(BitsAndBytesFormat.entries("weight", tensor, TensorType.U8));
      entries.add(tensor.values("dequantized"));
      SafeTensorsWriter.write(target, entries, Map.of("format", "pt"));
      spec.commandLine()
          .getOut()
          .printf(
              Locale.ROOT,
              "quantized %s %s of %s: %s, %.3f bits per value, in %s%n",
              key,
              tensor.shape(),
              TypeNames.of(tensor.type()),
              Sizes.format(tensor.bytes()),
              8.0 * tensor.bytes() / tensor.shape().size(),
              target);
    }
    return 0;
  }
}
