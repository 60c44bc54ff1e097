package io.peft4j.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import io.peft4j.PeftException;
import io.peft4j.lora.LoraConfig;
import io.peft4j.spi.PeftMethod;
import io.peft4j.spi.PeftMethods;
import io.peft4j.state.Json;
import io.peft4j.state.PeftDirectory;
import io.peft4j.target.ModelLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Collectors;

/** Plans what adapters of the methods on the class path would do. */
final class AdapterPlanner {
  private static final String TYPE = "peft_type";

  private AdapterPlanner() {}

  /**
   * Plans.
   *
   * @param fileOrDirectory an adapter's directory, or an {@code adapter_config.json}; a file
   *     without {@code peft_type} is LoRA
   */
  static AdapterPlan plan(ModelLayout layout, Path fileOrDirectory) {
    if (Files.isDirectory(fileOrDirectory)
        && Files.notExists(fileOrDirectory.resolve(PeftDirectory.CONFIG))) {
      return SavedPlan.of(layout, fileOrDirectory);
    }
    Path file =
        Files.isDirectory(fileOrDirectory)
            ? fileOrDirectory.resolve(PeftDirectory.CONFIG)
            : fileOrDirectory;
    ObjectNode json = Json.readObject(file);
    String type = json.hasNonNull(TYPE) ? json.get(TYPE).asText() : untold(fileOrDirectory);
    if (!type.equals("LORA") && Files.isDirectory(fileOrDirectory)) {
      return SavedPlan.of(layout, fileOrDirectory);
    }
    PeftMethod method =
        PeftMethods.all().stream()
            .filter(candidate -> candidate.name().equals(type))
            .findFirst()
            .orElseThrow(
                () ->
                    new InvalidConfigException(
                        file
                            + ": peft_type must be one of "
                            + PeftMethods.all().stream()
                                .map(PeftMethod::name)
                                .sorted()
                                .collect(Collectors.joining(", "))
                            + "; given was '"
                            + type
                            + "'"));
    PeftConfig config;
    try {
      config = method.readConfig(json);
    } catch (InvalidConfigException e) {
      throw new PeftException(file + ": " + e.getMessage(), e);
    }
    if (config instanceof LoraConfig lora) {
      return new LoraPlan(lora, layout).plan();
    }
    throw new InvalidConfigException(
        file
            + ": adapters of type "
            + type
            + " cannot be planned from a configuration alone; give the directory of a saved one");
  }

  /** The method whose files do not name it, AdapterHub's for example. */
  private static String untold(Path fileOrDirectory) {
    return PeftMethods.all().stream()
        .filter(method -> Files.isDirectory(fileOrDirectory) && method.recognises(fileOrDirectory))
        .map(PeftMethod::name)
        .findFirst()
        .orElse("LORA");
  }
}
