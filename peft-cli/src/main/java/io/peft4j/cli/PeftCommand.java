package io.peft4j.cli;

import io.peft4j.cli.train.TrainCommand;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.Spec;

/**
 * The command {@code peft}.
 *
 * <p>Results go to standard output, everything else to standard error. Exit codes: 0 for success, 1
 * if the answer is no (beyond the tolerance, a configuration that does not fit), 2 for bad input,
 * which is one line on standard error that begins with {@code peft: }.
 */
@Command(
    name = "peft",
    mixinStandardHelpOptions = true,
    versionProvider = PeftCommand.Version.class,
    subcommands = {
      InspectCommand.class,
      VerifyCommand.class,
      MergeCommand.class,
      ConvertCommand.class,
      QuantizeCommand.class,
      QuantizeTensorCommand.class,
      ExportCommand.class,
      GenerateCommand.class,
      ChatCommand.class,
      PerplexityCommand.class,
      TrainCommand.class
    },
    description =
        "Plans, trains, checks, merges and exports adapters over Hugging Face models, converts models,"
            + " and generates text.",
    synopsisSubcommandLabel = "COMMAND",
    footer = {
      "",
      "Exit codes: 0 success; 1 the answer is no; 2 bad input.",
      "'peft COMMAND --help' explains a command."
    })
public final class PeftCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--verbose",
      scope = ScopeType.INHERIT,
      description = "Print the stack trace of an error too.")
  private boolean verbose;

  /** Made by {@link #run} and by picocli. */
  PeftCommand() {}

  /** Says which version this is. */
  static final class Version implements IVersionProvider {
    @Override
    public String[] getVersion() {
      String version = PeftCommand.class.getPackage().getImplementationVersion();
      return new String[] {"peft (peft4j) " + (version == null ? "development" : version)};
    }
  }

  /**
   * Runs the command and ends the process with its exit code.
   *
   * @param args the command line
   */
  public static void main(String[] args) {
    PrintWriter out = new PrintWriter(System.out, false, StandardCharsets.UTF_8);
    PrintWriter err = new PrintWriter(System.err, true, StandardCharsets.UTF_8);
    int code = run(out, err, args);
    out.flush();
    System.exit(code);
  }

  /**
   * Runs the command.
   *
   * @param out takes the result
   * @param err takes error messages
   * @param args the command line
   * @return the exit code: 0, 1 or 2
   */
  public static int run(PrintWriter out, PrintWriter err, String... args) {
    quieten();
    PeftCommand root = new PeftCommand();
    CommandLine line = new CommandLine(root).setOut(out).setErr(err);
    line.setCaseInsensitiveEnumValuesAllowed(true);
    line.setUsageHelpAutoWidth(true);
    Failures failures = new Failures(err, () -> root.verbose);
    line.setParameterExceptionHandler(failures);
    line.setExecutionExceptionHandler(failures);
    try {
      return line.execute(args);
    } catch (LinkageError | OutOfMemoryError | InternalError | StackOverflowError e) {
      return failures.report(e);
    } finally {
      out.flush();
      err.flush();
    }
  }

  /** The engine looks for CUDA and for newer natives, and says so, unless told not to. */
  private static void quieten() {
    setDefault("ai.djl.offline", "true");
    setDefault("OPT_OUT_TRACKING", "true");
  }

  private static void setDefault(String key, String value) {
    if (System.getProperty(key) == null) {
      System.setProperty(key, value);
    }
  }

  @Override
  public Integer call() {
    spec.commandLine().usage(spec.commandLine().getOut());
    return CommandLine.ExitCode.OK;
  }
}
