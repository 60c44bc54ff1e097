package io.peft4j.cli;

import io.peft4j.PeftException;
import java.io.PrintWriter;
import java.util.function.BooleanSupplier;
import picocli.CommandLine;
import picocli.CommandLine.IExecutionExceptionHandler;
import picocli.CommandLine.IParameterExceptionHandler;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.UnmatchedArgumentException;

/** Turns errors into one line on standard error and an exit code. */
final class Failures implements IParameterExceptionHandler, IExecutionExceptionHandler {
  private static final int BAD_INPUT = 2;

  private final PrintWriter err;
  private final BooleanSupplier verbose;

  Failures(PrintWriter err, BooleanSupplier verbose) {
    this.err = err;
    this.verbose = verbose;
  }

  @Override
  public int handleParseException(ParameterException e, String[] args) {
    CommandLine command = e.getCommandLine();
    String message = oneLine(String.valueOf(e.getMessage()));
    if (e instanceof UnmatchedArgumentException unmatched) {
      String nearest = String.join(", ", unmatched.getSuggestions());
      message += nearest.isEmpty() ? "" : "; nearest: " + nearest;
    }
    err.println(
        "peft: " + message + " (see '" + command.getCommandSpec().qualifiedName() + " --help')");
    return BAD_INPUT;
  }

  @Override
  public int handleExecutionException(Exception e, CommandLine command, ParseResult parseResult) {
    return report(e);
  }

  /** Prints an error. */
  int report(Throwable e) {
    String message = oneLine(String.valueOf(e.getMessage()));
    if (!(e instanceof PeftException)) {
      message =
          e instanceof OutOfMemoryError
              ? "the memory does not suffice: " + message
              : "unexpected "
                  + e.getClass().getSimpleName()
                  + ": "
                  + message
                  + (verbose.getAsBoolean() ? "" : " (--verbose prints where)");
    }
    err.println("peft: " + message);
    if (verbose.getAsBoolean()) {
      e.printStackTrace(err);
    }
    return BAD_INPUT;
  }

  /** Messages that list several problems, one a line, become a sentence. */
  private static String oneLine(String message) {
    return message
        .strip()
        .replaceAll(":\\s*\\R(- )?\\s*", ": ")
        .replaceAll("\\s*\\R(- )?\\s*", "; ");
  }
}
