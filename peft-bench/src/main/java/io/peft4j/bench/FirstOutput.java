package io.peft4j.bench;

import java.nio.file.Path;

/**
 * A whole process for {@code run.sh} to time: {@code FirstOutput bert|llama DIR [--tiny]} loads the
 * base and the adapter in DIR, computes one output and ends.
 */
public final class FirstOutput {
  private FirstOutput() {}

  /**
   * Loads and computes.
   *
   * @param arguments shape and directory
   */
  public static void main(String[] arguments) {
    BaseShape shape = arguments[0].equals("bert") ? BaseShape.BERT : BaseShape.LLAMA;
    LoadScenario.firstOutput(Path.of(arguments[1]), shape, arguments.length > 2);
    System.exit(0);
  }
}
