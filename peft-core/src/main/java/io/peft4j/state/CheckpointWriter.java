package io.peft4j.state;

import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftException;
import java.io.IOException;
import java.math.BigDecimal;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;

/**
 * Writes a model's tensors as transformers does: one {@code model.safetensors}, or shards {@code
 * model-00001-of-0000N.safetensors} and {@code model.safetensors.index.json}.
 *
 * <p>Tensors fill one shard after the other in the order given; one that is larger than a shard may
 * be gets a shard of its own. The index is JSON as Python writes it with two spaces and sorted keys
 * and ends in a newline: {@code metadata} with {@code total_parameters} (elements) and {@code
 * total_size} (bytes), {@code weight_map} with each tensor's file.
 *
 * <p>All files are written under temporary names first and renamed together when the last one is on
 * disk; then files of an earlier save that are not part of the new one are deleted. So a failed
 * save leaves the earlier one, and its tensors may be read while they are replaced.
 */
public final class CheckpointWriter {
  /** The size that transformers takes by default: 50 GB. */
  public static final long DEFAULT_MAX_SHARD_SIZE = 50_000_000_000L;

  private static final Pattern SIZE =
      Pattern.compile("([0-9]{1,12}(?:\\.[0-9]{1,6})?) *([KMGT]?B)?");

  private CheckpointWriter() {}

  /**
   * Reads a size as people write it.
   *
   * @param text a number, alone (bytes) or followed by KB, MB, GB or TB (powers of 1000)
   * @return bytes, at least 1
   * @throws InvalidConfigException if it is not of that form
   */
  public static long parseSize(String text) {
    var match = SIZE.matcher(text.trim().toUpperCase(Locale.ROOT));
    if (match.matches()) {
      String unit = match.group(2) == null ? "B" : match.group(2);
      int power = List.of("B", "KB", "MB", "GB", "TB").indexOf(unit);
      BigDecimal bytes = new BigDecimal(match.group(1)).scaleByPowerOfTen(3 * power);
      if (bytes.compareTo(BigDecimal.ONE) >= 0
          && bytes.compareTo(BigDecimal.valueOf(Long.MAX_VALUE)) <= 0) {
        return bytes.longValue();
      }
    }
    throw new InvalidConfigException(
        "a size is a number of bytes from 1, or one with KB, MB, GB or TB, such as 5GB; given was '"
            + text
            + "'");
  }

  /**
   * Writes the tensors of a model.
   *
   * @param directory the directory, made if it is missing
   * @param entries the tensors, in the order in which they are to fill the shards
   * @param metadata free text for each file; {@code {"format": "pt"}} is what transformers expects
   * @param maxShardSize most bytes of tensors in one file, from 1
   * @return the files of tensors, in order
   * @throws InvalidConfigException if {@code maxShardSize} is below 1
   * @throws PeftException if a name stands twice or is reserved, or a file cannot be written
   */
  public static List<Path> write(
      Path directory,
      List<SafeTensorsWriter.Entry> entries,
      Map<String, String> metadata,
      long maxShardSize) {
    if (maxShardSize < 1) {
      throw new InvalidConfigException(
          "a shard's size must be at least 1 byte; given was " + maxShardSize);
    }
    String duplicate =
        SafeTensorsHeader.firstDuplicate(entries.stream().map(e -> e.name()).toList());
    if (duplicate != null) {
      throw new PeftException(
          directory + ": tensor " + SafeTensorsHeader.quote(duplicate) + " is given twice");
    }
    AtomicFiles.createDirectories(directory);
    List<List<SafeTensorsWriter.Entry>> shards = split(entries, maxShardSize);
    List<AtomicFiles.Pending> pending = new ArrayList<>();
    try {
      Map<String, Object> weightMap = new TreeMap<>();
      for (int i = 0; i < shards.size(); i++) {
        String name =
            shards.size() == 1
                ? "model.safetensors"
                : String.format(
                    Locale.ROOT, "model-%05d-of-%05d.safetensors", i + 1, shards.size());
        shards.get(i).forEach(entry -> weightMap.put(entry.name(), name));
        pending.add(SafeTensorsWriter.prepare(directory.resolve(name), shards.get(i), metadata));
      }
      List<Path> files = pending.stream().map(AtomicFiles.Pending::target).toList();
      Path index = directory.resolve("model.safetensors.index.json");
      if (shards.size() > 1) {
        // While shards of two saves may lie side by side there is no index that binds them.
        Files.deleteIfExists(index);
      }
      pending.forEach(AtomicFiles.Pending::commit);
      if (shards.size() > 1) {
        AtomicFiles.writeString(index, index(entries, weightMap));
      }
      deleteOthers(directory, files, shards.size() > 1);
      return files;
    } catch (IOException e) {
      throw new PeftException(directory + ": cannot be written: " + e, e);
    } finally {
      pending.forEach(AtomicFiles.Pending::close);
    }
  }

  private static List<List<SafeTensorsWriter.Entry>> split(
      List<SafeTensorsWriter.Entry> entries, long maxShardSize) {
    List<List<SafeTensorsWriter.Entry>> shards = new ArrayList<>();
    List<SafeTensorsWriter.Entry> current = new ArrayList<>();
    long size = 0;
    for (SafeTensorsWriter.Entry entry : entries) {
      long bytes = entry.bytes();
      if (bytes > maxShardSize) {
        shards.add(List.of(entry));
        continue;
      }
      if (bytes > maxShardSize - size) {
        shards.add(current);
        current = new ArrayList<>();
        size = 0;
      }
      current.add(entry);
      size += bytes;
    }
    if (!current.isEmpty() || shards.isEmpty()) {
      shards.add(current);
    }
    return shards;
  }

  private static String index(
      List<SafeTensorsWriter.Entry> entries, Map<String, Object> weightMap) {
    long elements = 0;
    long bytes = 0;
    for (SafeTensorsWriter.Entry entry : entries) {
      elements += entry.shape().size();
      bytes += entry.bytes();
    }
    JsonNode tree =
        Json.toTree(
            Map.of(
                "metadata",
                Map.of("total_parameters", elements, "total_size", bytes),
                "weight_map",
                weightMap));
    return Json.toPythonString(tree) + "\n";
  }

  private static void deleteOthers(Path directory, List<Path> files, boolean sharded)
      throws IOException {
    Pattern ours =
        Pattern.compile(
            "model(-[0-9]{5}-of-[0-9]{5})?\\.safetensors" + (sharded ? "" : "(\\.index\\.json)?"));
    List<Path> others = new ArrayList<>();
    try (DirectoryStream<Path> listing = Files.newDirectoryStream(directory)) {
      for (Path file : listing) {
        if (ours.matcher(String.valueOf(file.getFileName())).matches() && !files.contains(file)) {
          others.add(file);
        }
      }
    }
    for (Path file : others) {
      Files.delete(file);
    }
  }
}
