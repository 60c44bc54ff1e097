package io.peft4j.bench;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/**
 * How a scenario is run.
 *
 * @param tiny whether to use toy shapes, to see that everything runs
 * @param output the file that results are appended to
 * @param models the directory with checkpoints for {@link LoadScenario}
 */
record Settings(boolean tiny, Path output, Path models, Path gguf) {

  /**
   * Reads {@code --tiny}, {@code --output FILE} and {@code --models DIR}.
   *
   * @param arguments the command line after the scenario's name
   * @return the settings
   */
  static Settings parse(Iterable<String> arguments) {
    Map<String, String> values = new HashMap<>();
    String name = "";
    for (String argument : arguments) {
      if (argument.startsWith("--")) {
        name = argument;
        values.put(name, "");
      } else {
        values.put(name, argument);
      }
    }
    return new Settings(
        values.containsKey("--tiny"),
        Path.of(values.getOrDefault("--output", "results.jsonl")),
        Path.of(values.getOrDefault("--models", "models")),
        Path.of(values.getOrDefault("--gguf", "model.gguf")));
  }
}
