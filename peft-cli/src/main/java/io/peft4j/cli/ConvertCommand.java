package io.peft4j.cli;

import io.peft4j.InvalidConfigException;
import io.peft4j.models.SaveOptions;
import io.peft4j.models.gguf.GgufConverter;
import io.peft4j.models.gguf.GgufModel;
import io.peft4j.state.Checkpoint;
import io.peft4j.state.NewDirectory;
import io.peft4j.state.TensorType;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Writes a GGUF file as a Hugging Face directory. */
@Command(
    name = "convert",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Writes a GGUF file as a Hugging Face directory, weights unpacked, with configuration,"
          + " tokenizer and chat template, that every command here and transformers load as a"
          + " base.",
      "",
      "The directory appears whole or not at all. Read are F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K"
          + " and Q6_K of llama (and Mistral), qwen2, qwen3, gemma2, gemma3, phi3 and gpt2."
    })
final class ConvertCommand implements Callable<Integer> {
  private static final List<TensorType> TYPES =
      List.of(TensorType.F32, TensorType.BF16, TensorType.F16);

  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(names = "--in", required = true, paramLabel = "FILE.gguf", description = "The GGUF file.")
  private Path source = Path.of("");

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "Where to write; must not exist or be empty.")
  private Path target = Path.of("");

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      defaultValue = "float32",
      description = "float32, bf16 or f16 (default: ${DEFAULT-VALUE}). Only float32 is exact.")
  private String type = "";

  @Option(
      names = "--max-shard-size",
      paramLabel = "SIZE",
      defaultValue = "50GB",
      description =
          "The most bytes in one file, such as 5GB or 500MiB (default: ${DEFAULT-VALUE}).")
  private String maxShardSize = "";

  /** Made by picocli. */
  ConvertCommand() {}

  @Override
  public Integer call() {
    TensorType stored =
        TensorType.parse(type)
            .filter(TYPES::contains)
            .orElseThrow(
                () ->
                    new InvalidConfigException(
                        "--dtype is float32, bf16 or f16; given was '" + type + "'"));
    long shardSize = Sizes.parse("--max-shard-size", maxShardSize);
    NewDirectory.check(target);
    SaveOptions options = SaveOptions.builder().type(stored).maxShardSize(shardSize).build();
    boolean tokenizer;
    try (GgufModel model = GgufModel.open(source)) {
      tokenizer = model.tokenizer().isPresent();
      NewDirectory.write(target, directory -> GgufConverter.write(model, directory, options));
    }
    try (Checkpoint written = Checkpoint.open(target)) {
      long bytes = written.names().stream().mapToLong(name -> written.info(name).bytes()).sum();
      int files = written.files().size();
      spec.commandLine()
          .getOut()
          .printf(
              Locale.ROOT,
              "converted %s: %d tensors, %s in %s, %d file%s in %s%s%n",
              source,
              written.names().size(),
              Sizes.format(bytes),
              TypeNames.of(stored),
              files,
              files == 1 ? "" : "s",
              target,
              tokenizer ? "" : " (the file has no tokenizer)");
    }
    return 0;
  }
}
