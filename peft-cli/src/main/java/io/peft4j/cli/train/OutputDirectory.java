package io.peft4j.cli.train;

import io.peft4j.InvalidConfigException;
import io.peft4j.PeftException;
import io.peft4j.train.checkpoint.CheckpointStore;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/** Where a run writes, checked before any work is done. */
final class OutputDirectory {
  static final String METRICS = "metrics.jsonl";
  static final String PLOT = "loss.png";
  static final String EVENTS = "runs";

  private OutputDirectory() {}

  static void check(TrainConfig.OutputPart output) {
    Path directory = output.directory();
    if (Files.exists(directory) && !Files.isDirectory(directory)) {
      throw new InvalidConfigException(Keys.OUTPUT.name() + ": " + directory + " is no directory");
    }
    if (output.resume() || output.overwrite() || isEmpty(directory)) {
      return;
    }
    throw new InvalidConfigException(
        Keys.OUTPUT.name()
            + ": "
            + directory
            + " is not empty; give resume_from_checkpoint: true to go on with what is there, or"
            + " overwrite_output_dir: true");
  }

  private static boolean isEmpty(Path directory) {
    if (!Files.exists(directory)) {
      return true;
    }
    try (Stream<Path> entries = Files.list(directory)) {
      return entries.findAny().isEmpty();
    } catch (IOException e) {
      throw new PeftException(directory + " cannot be read: " + e.getMessage(), e);
    }
  }

  /** Removes what an earlier run has written, and nothing else. */
  static void clear(Path directory) {
    if (!Files.exists(directory)) {
      return;
    }
    CheckpointStore store = new CheckpointStore(directory);
    store.clean();
    store.list().values().forEach(OutputDirectory::delete);
    for (String name : List.of(METRICS, PLOT, EVENTS)) {
      delete(directory.resolve(name));
    }
  }

  private static void delete(Path path) {
    if (!Files.exists(path)) {
      return;
    }
    try (Stream<Path> all = Files.walk(path)) {
      for (Path each : all.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(each);
      }
    } catch (IOException e) {
      throw new PeftException(path + " cannot be removed: " + e.getMessage(), e);
    }
  }
}
