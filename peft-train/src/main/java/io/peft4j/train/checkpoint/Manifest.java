package io.peft4j.train.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftException;
import io.peft4j.state.AtomicFiles;
import io.peft4j.state.Json;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.CRC32C;

/** Sizes and check sums of a checkpoint's files. They guard against damage, not against malice. */
final class Manifest {
  private static final String FILE = "manifest.json";
  private static final int PIECE = 1 << 16;

  private Manifest() {}

  static void write(Path directory) {
    Map<String, Object> all = new TreeMap<>();
    files(directory)
        .forEach(
            (name, file) -> all.put(name, Map.of("size", size(file), "crc32c", checkSum(file))));
    AtomicFiles.writeString(directory.resolve(FILE), Json.toPythonString(Json.toTree(all)) + "\n");
  }

  static void verify(Path directory) {
    ObjectNode manifest = Json.readObject(directory.resolve(FILE));
    // Names in the manifest are looked up among the files there are, never made into paths.
    Map<String, Path> files = files(directory);
    for (Map.Entry<String, JsonNode> entry : manifest.properties()) {
      Path file = files.get(entry.getKey());
      if (file == null) {
        throw new MalformedFileException(
            directory + ": lacks the file '" + entry.getKey() + "', which its manifest lists");
      }
      JsonNode size = entry.getValue().path("size");
      JsonNode sum = entry.getValue().path("crc32c");
      if (!size.isIntegralNumber() || !sum.isIntegralNumber()) {
        throw new MalformedFileException(
            directory.resolve(FILE)
                + ": '"
                + entry.getKey()
                + "' must have a size and a crc32c, both integers");
      }
      if (size.longValue() != size(file) || sum.longValue() != checkSum(file)) {
        throw new MalformedFileException(
            file + ": is damaged: size or check sum are not those of the checkpoint's manifest");
      }
    }
    for (String needed :
        new String[] {
          CheckpointStore.PARAMETERS, CheckpointStore.OPTIMIZER, CheckpointStore.STATE
        }) {
      if (!manifest.has(needed)) {
        throw new MalformedFileException(
            directory.resolve(FILE) + ": does not list " + needed + ", which a checkpoint has");
      }
    }
  }

  private static SortedMap<String, Path> files(Path directory) {
    try (Stream<Path> tree = Files.walk(directory)) {
      return tree.filter(Files::isRegularFile)
          .filter(file -> !directory.resolve(FILE).equals(file))
          .collect(
              Collectors.toMap(
                  file -> name(directory.relativize(file)),
                  file -> file,
                  (one, other) -> one,
                  TreeMap::new));
    } catch (IOException e) {
      throw new PeftException(directory + ": cannot be listed: " + e, e);
    }
  }

  private static String name(Path relative) {
    return Stream.iterate(0, i -> i < relative.getNameCount(), i -> i + 1)
        .map(i -> relative.getName(i).toString())
        .collect(Collectors.joining("/"));
  }

  private static long size(Path file) {
    try {
      return Files.size(file);
    } catch (IOException e) {
      throw new PeftException(file + ": cannot be read: " + e, e);
    }
  }

  private static long checkSum(Path file) {
    CRC32C sum = new CRC32C();
    byte[] piece = new byte[PIECE];
    try (InputStream in = Files.newInputStream(file)) {
      for (int read = in.read(piece); read >= 0; read = in.read(piece)) {
        sum.update(piece, 0, read);
      }
    } catch (IOException e) {
      throw new PeftException(file + ": cannot be read: " + e, e);
    }
    return sum.getValue();
  }
}
