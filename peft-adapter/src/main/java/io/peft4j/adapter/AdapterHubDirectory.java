package io.peft4j.adapter;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftConfig;
import io.peft4j.PeftException;
import io.peft4j.state.AdapterState;
import io.peft4j.state.AtomicFiles;
import io.peft4j.state.Json;
import io.peft4j.state.PeftDirectory;
import io.peft4j.state.SafeTensors;
import io.peft4j.state.SafeTensorsWriter;
import io.peft4j.state.SavedAdapter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * An adapter directory as AdapterHub's {@code save_adapter} writes it.
 *
 * <ul>
 *   <li>{@code adapter_config.json}: one JSON object, two spaces of indent, keys sorted, no newline
 *       at the end. {@code config} holds the settings of {@code BnConfig}; {@code name} is the
 *       adapter's, {@code hidden_size}, {@code model_type}, {@code model_class} and {@code
 *       model_name} the model's. This library adds {@code modules_to_save} and {@code task_type}
 *       where they are set, which AdapterHub passes over.
 *   <li>{@code adapter.safetensors}: the tensors. Keys are the path of a module, {@code
 *       .adapters.}, the adapter's name and the tensor's own path. They begin as the model's own
 *       do: with {@code bert.} where it has a head.
 *   <li>{@code model_head.safetensors} and {@code head_config.json}: modules that are trained
 *       whole, under their names in the model. Read only where {@code modules_to_save} or {@code
 *       task_type} says so: AdapterHub saves heads that were never trained, too.
 * </ul>
 *
 * <p>A directory that has only {@code pytorch_adapter.bin} is refused: pickles can run code.
 */
final class AdapterHubDirectory {
  static final String ADAPTERS = ".adapters.";
  private static final String TENSORS = "adapter.safetensors";
  private static final String PICKLE = "pytorch_adapter.bin";
  private static final String HEAD = "model_head.safetensors";
  private static final String HEAD_CONFIG = "head_config.json";

  private AdapterHubDirectory() {}

  /** Whether a directory holds a bottleneck adapter of AdapterHub's. */
  static boolean recognises(Path directory) {
    Path file = directory.resolve(PeftDirectory.CONFIG);
    if (!Files.isRegularFile(file)) {
      return false;
    }
    ObjectNode json = Json.readObject(file);
    JsonNode config = json.path(AdapterConfig.CONFIG);
    return !json.has("peft_type")
        && config.has(BottleneckKeys.NON_LINEARITY)
        && config.has(BottleneckKeys.REDUCTION)
        && !config.hasNonNull("architecture");
  }

  static SavedAdapter read(Path directory) {
    Path file = directory.resolve(PeftDirectory.CONFIG);
    AdapterConfig config = AdapterConfig.fromJson(Json.readObject(file));
    Path tensors = directory.resolve(TENSORS);
    if (!Files.exists(tensors) && Files.exists(directory.resolve(PICKLE))) {
      throw new MalformedFileException(
          directory
              + " has its tensors in "
              + PICKLE
              + ", a pickle, which can run code; save them as "
              + TENSORS
              + " (use_safetensors=True)");
    }
    Path head = directory.resolve(HEAD);
    boolean heads = !config.modulesToSave().isEmpty() || config.taskType().isPresent();
    SafeTensors adapter = SafeTensors.open(tensors);
    try {
      return new Opened(
          config, adapter, heads && Files.exists(head) ? SafeTensors.open(head) : null);
    } catch (PeftException e) {
      adapter.close();
      throw e;
    }
  }

  static void write(Path directory, AdapterState state) {
    AtomicFiles.createDirectories(directory);
    ObjectNode config = named(state.config());
    String name = config.get(AdapterConfig.ADAPTER).textValue();
    List<SafeTensorsWriter.Entry> adapter = new ArrayList<>();
    List<SafeTensorsWriter.Entry> head = new ArrayList<>();
    state
        .tensors()
        .forEach(
            (key, array) -> {
              String path = key.substring(PeftDirectory.PREFIX.length());
              int place = path.indexOf(ADAPTERS);
              if (place < 0) {
                head.add(SafeTensorsWriter.Entry.of(path, array));
              } else {
                int after = place + ADAPTERS.length();
                String named = path.substring(0, after) + name + "." + path.substring(after);
                adapter.add(SafeTensorsWriter.Entry.of(named, array));
              }
            });
    if (head.isEmpty()) {
      // What an adapter saved here before had for a head is none of this one's.
      delete(directory.resolve(HEAD));
      delete(directory.resolve(HEAD_CONFIG));
    } else {
      SafeTensorsWriter.write(directory.resolve(HEAD), head, Map.of("format", "pt"));
      AtomicFiles.writeString(
          directory.resolve(HEAD_CONFIG), Json.toPythonString(headConfig(config)));
    }
    SafeTensorsWriter.write(directory.resolve(TENSORS), adapter, Map.of("format", "pt"));
    AtomicFiles.writeString(directory.resolve(PeftDirectory.CONFIG), Json.toPythonString(config));
  }

  private static void delete(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      throw new PeftException("cannot delete " + file + ": " + e.getMessage(), e);
    }
  }

  /** Says which model it was by AdapterHub's keys, where it is known by PEFT's. */
  private static ObjectNode named(ObjectNode config) {
    JsonNode name = config.remove("base_model_name_or_path");
    JsonNode mapping = config.remove("auto_mapping");
    if (name != null && !config.hasNonNull("model_name")) {
      config.set("model_name", name);
    }
    if (mapping != null && !config.hasNonNull("model_class")) {
      config.put("model_class", mapping.path("base_model_class").textValue());
    }
    return config;
  }

  private static ObjectNode headConfig(ObjectNode adapter) {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    for (String key :
        List.of("hidden_size", "model_class", "model_name", "model_type", "version")) {
      json.set(key, adapter.path(key).deepCopy());
    }
    json.putNull("config");
    return json.putNull("name");
  }

  private record Opened(AdapterConfig settings, SafeTensors adapter, @Nullable SafeTensors head)
      implements SavedAdapter {
    @Override
    public PeftConfig config() {
      return settings;
    }

    @Override
    public Set<String> keys() {
      Set<String> keys = new LinkedHashSet<>();
      adapter.names().forEach(name -> keys.add(key(name)));
      if (head != null) {
        head.names().forEach(name -> keys.add(PeftDirectory.PREFIX + name));
      }
      return keys;
    }

    @Override
    public Map<String, NDArray> tensors(NDManager manager) {
      Map<String, NDArray> arrays = new LinkedHashMap<>();
      for (String name : adapter.names()) {
        if (arrays.put(key(name), adapter.float32(manager, name)) != null) {
          throw new MalformedFileException("two tensors of an adapter stand for " + key(name));
        }
      }
      if (head != null) {
        for (String name : head.names()) {
          arrays.put(PeftDirectory.PREFIX + name, head.float32(manager, name));
        }
      }
      return arrays;
    }

    private String key(String name) {
      String own = ADAPTERS + settings.name() + ".";
      return PeftDirectory.PREFIX + (name.contains(own) ? name.replace(own, ADAPTERS) : name);
    }

    @Override
    public void close() {
      adapter.close();
      if (head != null) {
        head.close();
      }
    }
  }
}
