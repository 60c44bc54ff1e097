package io.peft4j.state;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.MalformedFileException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * The tensors of a model: one safetensors file, or several shards that an index binds together.
 *
 * <p>The index {@code model.safetensors.index.json} is an object whose {@code weight_map} gives for
 * each tensor the name of the shard it lies in, a file beside the index. Every tensor listed must
 * be where the list says and in no other shard; a tensor that is in one shard but not listed is
 * read as well, as transformers does. What else the index says is not used.
 */
public final class Checkpoint implements TensorStore {
  private static final String SUFFIX = ".safetensors";
  private static final String INDEX_SUFFIX = ".safetensors.index.json";

  private final List<SafeTensors> shards;
  private final Map<String, SafeTensors> owners;

  private Checkpoint(List<SafeTensors> shards, Map<String, SafeTensors> owners) {
    this.shards = shards;
    this.owners = Collections.unmodifiableMap(owners);
  }

  /**
   * Opens a model's tensors.
   *
   * @param directoryOrFile a directory with {@code model.safetensors} or {@code
   *     model.safetensors.index.json} (the former is preferred), or one safetensors file, or an
   *     index file
   * @return the open checkpoint; the caller closes it
   * @throws MalformedFileException if there is no such file, one is damaged, the index and the
   *     shards do not fit, or there is only a Python pickle (the message says how to convert it)
   */
  public static Checkpoint open(Path directoryOrFile) {
    if (Files.isDirectory(directoryOrFile)) {
      return open(directoryOrFile, "model");
    }
    if (String.valueOf(directoryOrFile.getFileName()).endsWith(".index.json")) {
      return openIndex(directoryOrFile);
    }
    return single(directoryOrFile);
  }

  /**
   * Opens the tensors in a directory whose files are not called {@code model}.
   *
   * @param directory a directory
   * @param stem what the files' names begin with: {@code adapter_model} for {@code
   *     adapter_model.safetensors}
   * @return the open checkpoint; the caller closes it
   * @throws MalformedFileException as {@link #open(Path)}
   */
  public static Checkpoint open(Path directory, String stem) {
    Path file = directory.resolve(stem + SUFFIX);
    if (Files.exists(file)) {
      return single(file);
    }
    Path index = directory.resolve(stem + INDEX_SUFFIX);
    if (Files.exists(index)) {
      return openIndex(index);
    }
    String pickle = stem.equals("model") ? "pytorch_model" : stem;
    for (String name : List.of(pickle + ".bin", pickle + ".bin.index.json")) {
      if (Files.exists(directory.resolve(name))) {
        throw new MalformedFileException(Pickles.refusal(directory.resolve(pickle + ".bin")));
      }
    }
    throw new MalformedFileException(
        directory
            + ": has neither "
            + file.getFileName()
            + " nor "
            + index.getFileName()
            + (Files.isDirectory(directory) ? "" : "; there is no such directory"));
  }

  private static Checkpoint single(Path file) {
    SafeTensors tensors = SafeTensors.open(file);
    Map<String, SafeTensors> owners = new LinkedHashMap<>();
    tensors.names().forEach(name -> owners.put(name, tensors));
    return new Checkpoint(List.of(tensors), owners);
  }

  private static Checkpoint openIndex(Path index) {
    Map<String, String> listed = weightMap(index);
    List<SafeTensors> shards = new ArrayList<>();
    try {
      Map<String, SafeTensors> byFile = new TreeMap<>();
      for (String shard : new java.util.TreeSet<>(listed.values())) {
        Path file = index.resolveSibling(shard);
        if (!Files.exists(file)) {
          throw new MalformedFileException(
              index + ": lists the shard " + SafeTensorsHeader.quote(shard) + ", which is missing");
        }
        SafeTensors tensors = SafeTensors.open(file);
        shards.add(tensors);
        byFile.put(shard, tensors);
      }
      Map<String, SafeTensors> owners = new LinkedHashMap<>();
      for (SafeTensors tensors : shards) {
        for (String name : tensors.names()) {
          SafeTensors other = owners.put(name, tensors);
          if (other != null) {
            throw new MalformedFileException(
                index
                    + ": tensor "
                    + SafeTensorsHeader.quote(name)
                    + " is in two shards, "
                    + other.file().getFileName()
                    + " and "
                    + tensors.file().getFileName());
          }
        }
      }
      listed.forEach(
          (name, shard) -> {
            if (owners.get(name) != byFile.get(shard)) {
              throw new MalformedFileException(
                  index
                      + ": tensor "
                      + SafeTensorsHeader.quote(name)
                      + " is listed in "
                      + shard
                      + " but is not there");
            }
          });
      return new Checkpoint(List.copyOf(shards), owners);
    } catch (RuntimeException | Error e) {
      shards.forEach(SafeTensors::close);
      throw e;
    }
  }

  private static Map<String, String> weightMap(Path index) {
    if (!(Json.readObject(index).get("weight_map") instanceof ObjectNode map)) {
      throw new MalformedFileException(index + ": has no object 'weight_map'");
    }
    Map<String, String> listed = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> entry : map.properties()) {
      String shard = entry.getValue().textValue();
      if (shard == null || !isPlainName(shard)) {
        throw new MalformedFileException(
            index
                + ": tensor "
                + SafeTensorsHeader.quote(entry.getKey())
                + " is listed in "
                + SafeTensorsHeader.quote(entry.getValue().asText())
                + "; a shard is a file beside the index whose name ends in "
                + SUFFIX);
      }
      listed.put(entry.getKey(), shard);
    }
    return listed;
  }

  /** No way out of the directory, on this system or another. */
  private static boolean isPlainName(String shard) {
    return shard.endsWith(SUFFIX)
        && !shard.startsWith(".")
        && shard.length() <= 255
        && shard
            .chars()
            .noneMatch(c -> c == '/' || c == '\\' || c == ':' || Character.isISOControl(c));
  }

  /**
   * The files that are open.
   *
   * @return the single file, or the shards in the order of their names
   */
  public List<Path> files() {
    return shards.stream().map(SafeTensors::file).toList();
  }

  @Override
  public Set<String> names() {
    return owners.keySet();
  }

  @Override
  public TensorInfo info(String name) {
    return owner(name).info(name);
  }

  @Override
  public Map<String, String> metadata() {
    return shards.isEmpty() ? Map.of() : shards.get(0).metadata();
  }

  @Override
  public ByteBuffer buffer(String name) {
    return owner(name).buffer(name);
  }

  @Override
  public ByteBuffer buffer(String name, long offset, int length) {
    return owner(name).buffer(name, offset, length);
  }

  @Override
  public NDArray array(NDManager manager, String name) {
    return owner(name).array(manager, name);
  }

  @Override
  public NDArray half(NDManager manager, String name) {
    return owner(name).half(manager, name);
  }

  @Override
  public NDArray float32(NDManager manager, String name) {
    return owner(name).float32(manager, name);
  }

  @Override
  public NDArray float32Copy(NDManager manager, String name) {
    return owner(name).float32Copy(manager, name);
  }

  private SafeTensors owner(String name) {
    SafeTensors owner = owners.get(name);
    if (owner == null) {
      throw new MalformedFileException(
          (shards.isEmpty() ? "an empty checkpoint" : shards.get(0).file())
              + (shards.size() > 1 ? " and " + (shards.size() - 1) + " other shards" : "")
              + ": no tensor "
              + SafeTensorsHeader.quote(name));
    }
    return owner;
  }

  @Override
  public void close() {
    shards.forEach(SafeTensors::close);
  }
}
