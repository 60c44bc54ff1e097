package io.peft4j.cli;

import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.CausalDecoder;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.Tokenizer;
import io.peft4j.torch.Precision;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.ToIntFunction;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * Which language model is run, with which adapters and how precisely: what several commands share.
 */
final class ModelOptions {
  @Option(
      names = "--base",
      required = true,
      paramLabel = "DIR|FILE.gguf|FILE.onnx",
      description =
          "The base model with its tokenizer: a Hugging Face directory, a GGUF file, or for generate"
              + " an exported model.")
  private Path base = Path.of("");

  @Mixin private AdapterOptions adapters = new AdapterOptions();

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      defaultValue = "auto",
      description =
          "What is computed in: float32, bf16, or auto, which is what this CPU does fast unless the"
              + " base is stored in float32 (default: ${DEFAULT-VALUE}).")
  private String type = "";

  /** The adapters. */
  AdapterOptions adapters() {
    return adapters;
  }

  /** The base, for messages. */
  Path base() {
    return base;
  }

  /** Loads the model, runs a command with it, and closes it. */
  int run(ToIntFunction<LoadedModel> command) {
    LoadOptions options = loadOptions(type);
    if (!Files.isDirectory(base) && !Files.isRegularFile(base)) {
      throw new MalformedFileException(
          "--base: " + base + " does not exist; a Hugging Face directory or a GGUF file is needed");
    }
    AdapterOptions.Request request = adapters.check();
    // The tokenizer first: if it is missing, the weights need not be loaded to say so.
    try (Tokenizer tokenizer = Tokenizer.load(base);
        PretrainedModel model = PretrainedModel.load(base, options)) {
      CausalDecoder.causal(model);
      if (adapters.isEmpty()) {
        return command.applyAsInt(new LoadedModel(model, tokenizer));
      }
      try (PeftModel adapted = Peft.open(model)) {
        request.apply(adapted);
        return command.applyAsInt(new LoadedModel(adapted.with(request.active()), tokenizer));
      }
    }
  }

  /** What {@code --dtype} means for loading. */
  private static LoadOptions loadOptions(String type) {
    LoadOptions.Builder options = LoadOptions.builder();
    return switch (type) {
      case "auto" -> options.build();
      case "float32" -> options.precision(Precision.FLOAT32).build();
      case "bf16", "bfloat16" -> options.precision(Precision.BFLOAT16).build();
      default ->
          throw new InvalidConfigException(
              "--dtype is auto, float32 or bf16; given was '" + type + "'");
    };
  }
}
