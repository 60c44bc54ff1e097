package io.peft4j.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.MalformedFileException;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.SaveOptions;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.qlora.BitsAndBytesConfig;
import io.peft4j.qlora.FourBitWeight;
import io.peft4j.state.Checkpoint;
import io.peft4j.state.Json;
import io.peft4j.state.NewDirectory;
import io.peft4j.state.TensorType;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Precision;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Writes a Hugging Face directory with its linear layers in 4 bits. */
@Command(
    name = "quantize",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Writes a Hugging Face directory with its linear layers in 4 bits, as transformers saves a"
          + " model that it loaded with the same BitsAndBytesConfig.",
      "",
      "Embeddings, norms and the output layer stay as they are. The directory appears whole or not"
          + " at all; every command here takes it as --base, and transformers loads it."
    })
final class QuantizeCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--base",
      required = true,
      paramLabel = "DIR",
      description = "The model: a directory with config.json and safetensors files.")
  private Path base = Path.of("");

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "Where to write; must not exist or be empty.")
  private Path target = Path.of("");

  @Mixin private QuantizationOptions options = new QuantizationOptions();

  @Option(
      names = "--skip",
      paramLabel = "NAME",
      split = ",",
      description =
          "Modules that stay as they are, in the place of the output layer: ends of paths, or"
              + " regular expressions for their beginnings (llm_int8_skip_modules).")
  private List<String> skipped = new ArrayList<>();

  /** Made by picocli. */
  QuantizeCommand() {}

  @Override
  public Integer call() {
    BitsAndBytesConfig.Builder builder = options.config();
    if (!skipped.isEmpty()) {
      builder.skipModules(skipped);
    }
    BitsAndBytesConfig config = builder.build();
    if (!Files.isDirectory(base)) {
      throw new MalformedFileException(
          "--base: "
              + base
              + (Files.exists(base) ? " is a file" : " does not exist")
              + "; a directory with config.json and safetensors files is needed");
    }
    NewDirectory.check(target);
    SaveOptions saving = SaveOptions.builder().type(type()).asStored().build();
    LoadOptions loading =
        LoadOptions.builder().quantization(config).precision(Precision.FLOAT32).build();
    try (PretrainedModel model = PretrainedModel.load(base, loading)) {
      NewDirectory.write(target, directory -> model.save(directory, saving));
      report(model, config);
    }
    return 0;
  }

  /** The type of what is not quantized: that of the model, as transformers finds it. */
  private TensorType type() {
    ObjectNode config = Json.readObject(base.resolve("config.json"));
    Optional<TensorType> declared =
        TensorType.parse(config.path(config.hasNonNull("dtype") ? "dtype" : "torch_dtype").asText())
            .filter(QuantizeCommand::isWritten);
    if (declared.isPresent()) {
      return declared.get();
    }
    try (Checkpoint checkpoint = Checkpoint.open(base)) {
      return checkpoint.names().stream()
          .map(name -> checkpoint.info(name).type())
          .filter(QuantizeCommand::isWritten)
          .findFirst()
          .orElse(TensorType.F32);
    }
  }

  private static boolean isWritten(TensorType type) {
    return type == TensorType.F32 || type == TensorType.BF16 || type == TensorType.F16;
  }

  private void report(PretrainedModel model, BitsAndBytesConfig config) {
    ModelLayout layout = model.weights().layout();
    int matrices = 0;
    long values = 0;
    long bytes = 0;
    try (WeightSnapshot lease = model.weights().lease()) {
      for (String name : layout.parameters().keySet()) {
        Weight weight = lease.weight(layout.parameterIndex(name));
        if (weight instanceof FourBitWeight) {
          matrices++;
          values += weight.shape().size();
          bytes += weight.bytes();
        }
      }
    }
    spec.commandLine()
        .getOut()
        .printf(
            Locale.ROOT,
            "quantized %s: %d of %d parameters to %s%s in blocks of %d, %s, %.3f bits per value,"
                + " in %s%n",
            base,
            matrices,
            layout.parameters().size(),
            config.type().key(),
            config.doubleQuantization() ? " with double quantization" : "",
            config.blockSize(),
            Sizes.format(bytes),
            values == 0 ? 0.0 : 8.0 * bytes / values,
            target);
  }
}
