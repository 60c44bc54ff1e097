package io.peft4j.state;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftConfig;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;

/**
 * An adapter directory as Hugging Face PEFT writes it.
 *
 * <ul>
 *   <li>{@code adapter_config.json}: one JSON object, two spaces of indent, keys sorted, no newline
 *       at the end. {@code peft_type} names the method; {@code inference_mode} is true in a file.
 *   <li>{@code adapter_model.safetensors}: the tensors, metadata {@code {"format":"pt"}}. Keys are
 *       {@code base_model.model.} and the path in the base model, without the adapter's name.
 * </ul>
 *
 * <p>A directory that has only {@code adapter_model.bin} is refused: pickles can run code.
 */
public final class PeftDirectory {
  /** Name of the configuration file. */
  public static final String CONFIG = "adapter_config.json";

  /** Name of the tensor file. */
  public static final String TENSORS = "adapter_model.safetensors";

  /** What every state key begins with. */
  public static final String PREFIX = "base_model.model.";

  private PeftDirectory() {}

  /**
   * The method that a directory's configuration names.
   *
   * @param directory any directory
   * @return {@code peft_type}; empty if there is no configuration file or it has no such key
   * @throws MalformedFileException if the configuration file is not a JSON object
   */
  public static Optional<String> peftType(Path directory) {
    if (!Files.isRegularFile(directory.resolve(CONFIG))) {
      return Optional.empty();
    }
    JsonNode type = Json.readObject(directory.resolve(CONFIG)).get("peft_type");
    return type != null && type.isTextual() ? Optional.of(type.textValue()) : Optional.empty();
  }

  /**
   * Opens an adapter directory.
   *
   * @param directory the directory
   * @param configReader reads the configuration
   * @return configuration and tensors; the caller closes it
   * @throws MalformedFileException if a file is missing or damaged
   */
  public static SavedAdapter read(Path directory, Function<ObjectNode, PeftConfig> configReader) {
    PeftConfig config = configReader.apply(Json.readObject(directory.resolve(CONFIG)));
    Path file = directory.resolve(TENSORS);
    if (!Files.exists(file) && Files.exists(directory.resolve("adapter_model.bin"))) {
      file = directory.resolve("adapter_model.bin");
    }
    SafeTensors tensors = SafeTensors.open(file);
    return new Opened(config, tensors);
  }

  /**
   * Writes an adapter directory; each file appears whole or not at all.
   *
   * @param directory the directory, made if it is missing
   * @param state configuration and tensors
   */
  public static void write(Path directory, AdapterState state) {
    AtomicFiles.createDirectories(directory);
    List<SafeTensorsWriter.Entry> entries = new ArrayList<>();
    state.tensors().forEach((key, array) -> entries.add(SafeTensorsWriter.Entry.of(key, array)));
    ObjectNode config = state.config();
    config.put("inference_mode", true);
    SafeTensorsWriter.write(directory.resolve(TENSORS), entries, Map.of("format", "pt"));
    AtomicFiles.writeString(directory.resolve(CONFIG), Json.toPythonString(config));
  }

  private record Opened(PeftConfig config, SafeTensors file) implements SavedAdapter {
    @Override
    public Set<String> keys() {
      return file.names();
    }

    @Override
    public Map<String, NDArray> tensors(NDManager manager) {
      Map<String, NDArray> arrays = new LinkedHashMap<>();
      for (String name : file.names()) {
        arrays.put(name, file.float32(manager, name));
      }
      return arrays;
    }

    @Override
    public void close() {
      file.close();
    }
  }
}
