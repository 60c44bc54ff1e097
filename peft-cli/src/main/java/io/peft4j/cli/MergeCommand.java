package io.peft4j.cli;

import io.peft4j.AdapterSet;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.MergeReport;
import io.peft4j.Peft;
import io.peft4j.PeftException;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.SaveOptions;
import io.peft4j.models.gguf.GgufFile;
import io.peft4j.state.Checkpoint;
import io.peft4j.state.NewDirectory;
import io.peft4j.state.TensorType;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Merges adapters into a base and saves it. */
@Command(
    name = "merge",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Merges adapters into the base, W + s*B*A, and saves a Hugging Face directory that every"
          + " command here and transformers load as a base.",
      "",
      "The directory appears whole or not at all. NaN and infinite weights are refused. What no"
          + " weight can express, as some parts of hybrids, is saved by --live, or nothing is."
    })
final class MergeCommand implements Callable<Integer> {
  private static final List<TensorType> TYPES =
      List.of(TensorType.F32, TensorType.BF16, TensorType.F16);

  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--base",
      required = true,
      paramLabel = "DIR|FILE.gguf",
      description = "The base model, a Hugging Face directory or a GGUF file.")
  private Path base = Path.of("");

  @Mixin private AdapterOptions adapters = new AdapterOptions();

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "Where to save; must not exist or be empty.")
  private Path target = Path.of("");

  @Option(
      names = "--live",
      paramLabel = "DIR",
      description =
          "Where to save what cannot be merged, as adapters of the merged model; must not exist or"
              + " be empty.")
  private @Nullable Path live;

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      description =
          "float32, bf16 or f16 (default: what most of the base is stored in). Merging is done in"
              + " float32, then rounded.")
  private @Nullable String type;

  @Option(
      names = "--max-shard-size",
      paramLabel = "SIZE",
      defaultValue = "50GB",
      description =
          "The most bytes in one file, such as 5GB or 500MiB (default: ${DEFAULT-VALUE}).")
  private String maxShardSize = "";

  @Option(
      names = "--into-4bit",
      description = {
        "Merge back into a base's 4 bits, which loses a part of what the adapters do; how much is"
            + " said.",
        "Without it what a base in 4 bits unpacks to is merged into and saved in 16 or 32 bits."
      })
  private boolean packed;

  /** Made by picocli. */
  MergeCommand() {}

  @Override
  public Integer call() {
    if (adapters.isEmpty()) {
      throw new InvalidConfigException("there is nothing to merge: give an --adapter");
    }
    BaseFiles.loadable(base);
    AdapterOptions.Request request = adapters.check();
    AdapterSet active = request.active();
    TensorType chosen = type == null ? null : type(type);
    long shardSize = Sizes.parse("--max-shard-size", maxShardSize);
    NewDirectory.check(target);
    if (packed && (GgufFile.isNamedSo(base) || BaseFiles.read(base).packed().isEmpty())) {
      throw new InvalidConfigException(
          "--into-4bit: " + base + " is not in 4 bits of bitsandbytes; peft quantize makes one so");
    }
    Path rest = live;
    if (rest != null) {
      NewDirectory.check(rest);
    }
    MergeReport report;
    TensorType stored = chosen == null ? stored(base) : chosen;
    try (PretrainedModel model = PretrainedModel.load(base, BaseFiles.FLOAT32);
        PeftModel adapted = Peft.open(model)) {
      request.apply(adapted);
      SaveOptions.Builder options = SaveOptions.builder().type(stored).maxShardSize(shardSize);
      if (packed) {
        report = adapted.mergeAsStored(active);
        options.asStored();
      } else {
        report = adapted.merge(active, true);
      }
      if (rest == null) {
        requireAll(report);
      }
      NewDirectory.write(target, directory -> model.save(directory, options.build()));
      if (rest != null && !report.live().isEmpty()) {
        String[] names = report.live().keySet().toArray(String[]::new);
        NewDirectory.write(rest, directory -> adapted.save(directory, names));
      }
    }
    report(active, report, stored);
    if (packed) {
      report(report);
    }
    return 0;
  }

  private static void requireAll(MergeReport report) {
    try {
      report.requireAll();
    } catch (AdapterStateException e) {
      throw new PeftException(
          e.getMessage() + "; give --live DIR to save that beside the merged model", e);
    }
  }

  private void report(MergeReport lost) {
    spec.commandLine()
        .getOut()
        .printf(
            Locale.ROOT,
            "back in 4 bits %d weights are off by %.4g, where the adapters change them by %.4g%s%n",
            lost.weights().size(),
            lost.error(),
            lost.effect(),
            lost.error() < lost.effect() ? "" : ": the adapters are mostly lost");
  }

  private void report(AdapterSet active, MergeReport report, TensorType stored) {
    PrintWriter out = spec.commandLine().getOut();
    try (Checkpoint written = Checkpoint.open(target)) {
      long bytes = written.names().stream().mapToLong(name -> written.info(name).bytes()).sum();
      int files = written.files().size();
      out.printf(
          Locale.ROOT,
          "merged %s into %s: %d tensors, %s in %s, %d file%s in %s%n",
          report.live().isEmpty() ? described(active) : String.join(", ", report.folded()),
          base,
          written.names().size(),
          Sizes.format(bytes),
          TypeNames.of(stored),
          files,
          files == 1 ? "" : "s",
          target);
    }
    report.live().forEach((name, reason) -> out.printf("live: %s in %s: %s%n", name, live, reason));
  }

  private static String described(AdapterSet set) {
    List<String> words = new ArrayList<>();
    set.strengths()
        .forEach(
            (name, strength) ->
                words.add(strength == 1 ? name : name + "=" + Numbers.format(strength)));
    return String.join(", ", words);
  }

  private static TensorType type(String name) {
    return TensorType.parse(name)
        .filter(TYPES::contains)
        .orElseThrow(
            () ->
                new InvalidConfigException(
                    "--dtype is float32, bf16 or f16; given was '" + name + "'"));
  }

  /**
   * The type of most values of a checkpoint, float32 if it is none that models are saved in, as in
   * a GGUF file.
   */
  private static TensorType stored(Path base) {
    if (GgufFile.isNamedSo(base)) {
      return TensorType.F32;
    }
    Map<TensorType, Long> values = new EnumMap<>(TensorType.class);
    try (Checkpoint checkpoint = Checkpoint.open(base)) {
      for (String name : checkpoint.names()) {
        values.merge(checkpoint.info(name).type(), checkpoint.info(name).elements(), Long::sum);
      }
    }
    return TYPES.stream()
        .max((a, b) -> Long.compare(values.getOrDefault(a, 0L), values.getOrDefault(b, 0L)))
        .filter(values::containsKey)
        .orElse(TensorType.F32);
  }
}
