package io.peft4j.cli.train;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Fine-tunes a causal language model as a configuration file says. */
@Command(
    name = "train",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Fine-tunes a causal language model on instruction data, as a YAML file says.",
      "",
      "The keys are those of TRL and transformers; LLaMA-Factory's spellings are understood. Needed"
          + " are model_name_or_path, method (lora, full, ...), dataset (files of JSON lines: text;"
          + " prompt and completion; messages; instruction, input and output) and output_dir.",
      "",
      "A run that was cut off goes on with resume_from_checkpoint: true, and ends with the same"
          + " bits."
    })
public final class TrainCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Parameters(index = "0", paramLabel = "CONFIG.yaml", description = "The configuration.")
  private Path config = Path.of("");

  @Parameters(
      index = "1..*",
      arity = "0..*",
      paramLabel = "KEY=VALUE",
      description = "Replaces what the file says, for example learning_rate=1e-4.")
  private List<String> changes = new ArrayList<>();

  @Option(
      names = "--dry-run",
      description = "Load, match, count and run one batch; train and write nothing.")
  private boolean dryRun;

  /** Made by picocli. */
  public TrainCommand() {}

  @Override
  public Integer call() {
    List<String> all = new ArrayList<>(changes);
    if (dryRun) {
      all.add(Keys.DRY_RUN.name() + "=true");
    }
    TrainConfig read = TrainConfig.of(Settings.read(config, all));
    new TrainRun(read, spec.commandLine().getOut(), spec.commandLine().getErr()).run();
    return 0;
  }
}
