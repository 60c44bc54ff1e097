package io.peft4j.hybrid;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftConfig;
import io.peft4j.state.AdapterState;
import io.peft4j.state.AtomicFiles;
import io.peft4j.state.Json;
import io.peft4j.state.SavedAdapter;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * A hybrid's directory.
 *
 * <ul>
 *   <li>{@code hybrid_config.json}: one JSON object of {@code peft_type}, which is {@code HYBRID},
 *       {@code format_version}, which is 1, and {@code parts}, a list of objects in the order in
 *       which parts act, each with {@code name} and {@code peft_type}. Nothing else is allowed.
 *   <li>For each part a directory of its name, no link, in the format that the part's method saves
 *       adapters in, with the part's configuration and tensors: the part alone is loaded from there
 *       by this library as by those that know the format.
 * </ul>
 *
 * <p>Whatever else lies in the directory is another adapter's, and is left alone. The configuration
 * file is written last, so that a hybrid that is saved for the first time is there whole or not at
 * all.
 */
final class HybridDirectory {
  private static final String CONFIG = "hybrid_config.json";
  private static final List<String> FROM_WHOLE = List.of("base_model_name_or_path", "auto_mapping");

  private HybridDirectory() {}

  static boolean isOne(Path directory) {
    return Files.isRegularFile(directory.resolve(CONFIG));
  }

  static void write(Path directory, AdapterState state) {
    ObjectNode json = state.config().deepCopy();
    ObjectNode origin = JsonNodeFactory.instance.objectNode();
    for (String key : FROM_WHOLE) {
      JsonNode value = json.remove(key);
      if (value != null && !value.isNull()) {
        origin.set(key, value);
      }
    }
    List<PartEntry> entries = PartEntry.all(json, true);
    Map<String, PartKeys> keys = new LinkedHashMap<>();
    entries.forEach(part -> keys.put(part.name(), new PartKeys(part.name(), part.method())));
    Map<String, Map<String, NDArray>> tensors = HybridMethod.divide(state.tensors(), keys);
    AtomicFiles.createDirectories(directory);
    ArrayNode list = JsonNodeFactory.instance.arrayNode();
    for (PartEntry part : entries) {
      ObjectNode config = part.config();
      inherit(config, origin);
      part.method()
          .write(
              directory.resolve(part.name()),
              new AdapterState(config, new TreeMap<>(tensors.getOrDefault(part.name(), Map.of()))));
      list.addObject()
          .put(HybridConfig.NAME_KEY, part.name())
          .put(HybridConfig.TYPE_KEY, part.method().name());
    }
    json.set(HybridConfig.PARTS_KEY, list);
    AtomicFiles.writeString(directory.resolve(CONFIG), Json.toPythonString(json));
  }

  /** What the whole says about its base holds for each part that does not say it itself. */
  private static void inherit(ObjectNode config, ObjectNode origin) {
    boolean knowsClass = config.hasNonNull("task_type");
    origin
        .properties()
        .forEach(
            entry -> {
              boolean needless = knowsClass && entry.getKey().equals("auto_mapping");
              if (!config.hasNonNull(entry.getKey()) && !needless) {
                config.set(entry.getKey(), entry.getValue());
              }
            });
  }

  static SavedAdapter read(Path directory) {
    Path file = directory.resolve(CONFIG);
    List<OpenPart> parts = new ArrayList<>();
    try {
      HybridConfig.Builder config = HybridConfig.builder();
      for (PartEntry entry : PartEntry.all(Json.readObject(file), false)) {
        SavedAdapter part = open(directory, entry);
        parts.add(new OpenPart(new PartKeys(entry.name(), entry.method()), part));
        config.part(entry.name(), part.config());
      }
      return new Opened(config.build(), parts);
    } catch (RuntimeException e) {
      parts.forEach(OpenPart::close);
      throw e instanceof InvalidConfigException
          ? new MalformedFileException(file + ": " + e.getMessage(), e)
          : e;
    }
  }

  private static SavedAdapter open(Path directory, PartEntry entry) {
    Path place = directory.resolve(entry.name());
    if (!Files.isDirectory(place, LinkOption.NOFOLLOW_LINKS)) {
      throw new MalformedFileException(
          place + ": there must be a directory of the hybrid's part '" + entry.name() + "'");
    }
    if (!entry.method().recognises(place)) {
      throw new MalformedFileException(
          place
              + ": must hold an adapter of type "
              + entry.method().name()
              + ", which is what the hybrid says of its part '"
              + entry.name()
              + "'");
    }
    return entry.method().read(place);
  }

  private record OpenPart(PartKeys keys, SavedAdapter saved) {
    void close() {
      saved.close();
    }
  }

  private record Opened(PeftConfig config, List<OpenPart> parts) implements SavedAdapter {

    @Override
    public Set<String> keys() {
      Set<String> all = new LinkedHashSet<>();
      for (OpenPart part : parts) {
        part.saved.keys().forEach(key -> all.add(part.keys.outer(key)));
      }
      return all;
    }

    @Override
    public Map<String, NDArray> tensors(NDManager manager) {
      Map<String, NDArray> all = new LinkedHashMap<>();
      for (OpenPart part : parts) {
        part.saved.tensors(manager).forEach((key, array) -> all.put(part.keys.outer(key), array));
      }
      return all;
    }

    @Override
    public void close() {
      parts.forEach(OpenPart::close);
    }
  }
}
