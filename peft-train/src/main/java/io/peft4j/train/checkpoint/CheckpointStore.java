package io.peft4j.train.checkpoint;

import io.peft4j.AdapterStateException;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftException;
import io.peft4j.state.AtomicFiles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * The checkpoints of one run, directories {@code checkpoint-<step>} beside each other.
 *
 * <p>A checkpoint holds
 *
 * <ul>
 *   <li>the model in its own format, which other programs read: PEFT's adapter files, for example;
 *   <li>{@code parameters.safetensors}: the trained tensors as float32, named by adapter and state
 *       key joined with a dot. The model's format may round or convert them; these are the exact
 *       ones, with which a run goes on;
 *   <li>{@code optimizer.safetensors}: the optimizer's state, see {@link io.peft4j.train.AdamW};
 *   <li>{@code trainer_state.json}: how far the run is and the settings it was made with;
 *   <li>{@code manifest.json}: an object with the path of every other file, relative, with forward
 *       slashes, and for each an object with {@code size} in bytes and {@code crc32c}, a number.
 * </ul>
 *
 * <p>It is written into a directory with a hidden temporary name; when every file is on disk the
 * directory is renamed. Deleting begins with a rename as well. So whatever is called {@code
 * checkpoint-<step>} was whole once, whenever the process is killed, and the manifest shows whether
 * it still is.
 *
 * <p>Holds nothing to close. One run at a time writes to a directory.
 */
public final class CheckpointStore {
  /** The file of the trained tensors. */
  public static final String PARAMETERS = "parameters.safetensors";

  /** The file of the optimizer's state. */
  public static final String OPTIMIZER = "optimizer.safetensors";

  /** The file of the run's progress. */
  public static final String STATE = "trainer_state.json";

  private static final Pattern NAME = Pattern.compile("checkpoint-([1-9][0-9]{0,17})");
  private static final String TEMPORARY = ".checkpoint-";

  private final Path directory;

  /** Writes what is in a checkpoint. */
  @FunctionalInterface
  public interface Content {
    /**
     * Writes it.
     *
     * @param directory an empty directory
     */
    void writeTo(Path directory);
  }

  /**
   * The checkpoints in a directory.
   *
   * @param directory the directory; made when something is written
   */
  public CheckpointStore(Path directory) {
    this.directory = directory;
  }

  /**
   * The checkpoints there are, by their names alone.
   *
   * @return step to directory, oldest first
   */
  public SortedMap<Long, Path> list() {
    SortedMap<Long, Path> found = new TreeMap<>();
    for (Path entry : entries(directory)) {
      Matcher name = NAME.matcher(String.valueOf(entry.getFileName()));
      if (name.matches() && Files.isDirectory(entry)) {
        found.put(Long.valueOf(name.group(1)), entry);
      }
    }
    return found;
  }

  /**
   * Where the checkpoint of a step is, if there is one.
   *
   * @param step updates made
   * @return its directory
   */
  public Path path(long step) {
    return directory.resolve("checkpoint-" + step);
  }

  /** Deletes what killed processes left half-written or half-deleted. */
  public void clean() {
    for (Path entry : entries(directory)) {
      if (String.valueOf(entry.getFileName()).startsWith(TEMPORARY)) {
        delete(entry);
      }
    }
  }

  /**
   * Writes a checkpoint, in the place of one of the same step if there is one.
   *
   * @param step updates made, from 1
   * @param content writes the files
   * @return its directory
   * @throws PeftException if it cannot be written; nothing of it is left then
   */
  public Path write(long step, Content content) {
    Path temporary = temporary();
    AtomicFiles.createDirectories(temporary);
    boolean done = false;
    try {
      content.writeTo(temporary);
      Manifest.write(temporary);
      Path target = path(step);
      remove(target);
      AtomicFiles.renameDirectory(temporary, target);
      done = true;
      return target;
    } finally {
      if (!done) {
        delete(temporary);
      }
    }
  }

  /**
   * Deletes all but the newest checkpoints.
   *
   * @param newest how many to keep, from 1
   * @param spared the step of one that is kept whatever its age
   */
  public void prune(int newest, long spared) {
    List<Map.Entry<Long, Path>> all = new ArrayList<>(list().entrySet());
    for (Map.Entry<Long, Path> old : all.subList(0, Math.max(0, all.size() - newest))) {
      if (old.getKey() != spared) {
        remove(old.getValue());
      }
    }
  }

  /**
   * Checks that a checkpoint's files are those that were written.
   *
   * @param checkpoint its directory
   * @throws MalformedFileException naming the file that is missing or damaged
   * @throws AdapterStateException if there is no such directory
   */
  public static void verify(Path checkpoint) {
    if (!Files.isDirectory(checkpoint)) {
      throw new AdapterStateException(checkpoint + ": there is no such checkpoint");
    }
    Manifest.verify(checkpoint);
  }

  private Path temporary() {
    return directory.resolve(TEMPORARY + UUID.randomUUID());
  }

  /** Takes the name away first, so that nobody meets half a checkpoint. */
  private void remove(Path checkpoint) {
    if (Files.exists(checkpoint)) {
      Path temporary = temporary();
      AtomicFiles.renameDirectory(checkpoint, temporary);
      delete(temporary);
    }
  }

  private static List<Path> entries(Path directory) {
    if (!Files.isDirectory(directory)) {
      return List.of();
    }
    try (Stream<Path> entries = Files.list(directory)) {
      return entries.toList();
    } catch (IOException e) {
      throw new PeftException(directory + ": cannot be listed: " + e, e);
    }
  }

  private static void delete(Path tree) {
    try (Stream<Path> files = Files.walk(tree)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      throw new PeftException(tree + ": cannot be deleted: " + e, e);
    }
  }
}
