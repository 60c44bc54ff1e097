package io.peft4j.hybrid;

import ai.djl.ndarray.NDArray;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import io.peft4j.nn.Backbone;
import io.peft4j.spi.Adapter;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.spi.AttachContext;
import io.peft4j.spi.PeftMethod;
import io.peft4j.spi.PeftMethods;
import io.peft4j.spi.Preparation;
import io.peft4j.state.AdapterState;
import io.peft4j.state.SavedAdapter;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Hybrids as a method, found by {@link java.util.ServiceLoader}. Each part is attached by its own
 * method, and acts as the adapter that it is.
 */
public final class HybridMethod implements PeftMethod {
  /** Made by the service loader. */
  public HybridMethod() {}

  @Override
  public String name() {
    return HybridConfig.NAME;
  }

  @Override
  public Class<? extends PeftConfig> configType() {
    return HybridConfig.class;
  }

  @Override
  public PeftConfig readConfig(ObjectNode json) {
    return HybridConfig.fromJson(json);
  }

  /**
   * {@code parts}: a list of objects with {@code method}, perhaps {@code name}, and the settings of
   * that method.
   */
  @Override
  public Set<String> settings() {
    return Set.of(HybridSettings.PARTS);
  }

  @Override
  public PeftConfig readSettings(ObjectNode settings) {
    return HybridSettings.read(settings);
  }

  /** Keys have namespaces of their own. */
  @Override
  public String keyPrefix() {
    return "";
  }

  /** Each part's method makes the base ready for it, in order. */
  @Override
  public Preparation prepare(Backbone base, PeftConfig config) {
    // A second would find the base that the first has made, not the one it asks for.
    List<String> preparing =
        ((HybridConfig) config)
            .parts().entrySet().stream()
                .filter(part -> !PeftMethods.of(part.getValue()).baseSettings().isEmpty())
                .map(Map.Entry::getKey)
                .toList();
    if (preparing.size() > 1) {
      throw new InvalidConfigException(
          "one part of a hybrid can make the base ready for itself, by quantizing it for example;"
              + " here "
              + preparing
              + " would: let one be qlora and the others lora");
    }
    HybridConfig.Builder own = HybridConfig.builder();
    Map<String, NDArray> beginnings = new LinkedHashMap<>();
    try {
      ((HybridConfig) config)
          .parts()
          .forEach(
              (name, part) -> {
                Preparation prepared = PeftMethods.of(part).prepare(base, part);
                PartKeys keys = new PartKeys(name, PeftMethods.of(prepared.config()));
                prepared
                    .beginnings()
                    .forEach((key, array) -> beginnings.put(keys.outer(key), array));
                own.part(name, prepared.config());
              });
      return new Preparation(own.build(), beginnings);
    } catch (RuntimeException e) {
      beginnings.values().forEach(NDArray::close);
      throw e;
    }
  }

  @Override
  public void attach(AttachContext context, AdapterBuilder adapter) {
    HybridConfig config = context.config(HybridConfig.class);
    Map<String, PartKeys> keys = keys(config);
    Map<String, NDArray> saved = context.saved().orElse(null);
    Map<String, Map<String, NDArray>> tensors = saved == null ? Map.of() : divide(saved, keys);
    Map<String, Adapter> parts = new LinkedHashMap<>();
    config
        .parts()
        .forEach(
            (name, part) -> {
              PartKeys own = keysOf(keys, name);
              AttachContext inner = context.part(part, tensors.get(name), own.space());
              parts.put(name, adapter.part(name, inner, PeftMethods.of(part), own::outer));
            });
    adapter.exportAs(() -> state(config, keys, parts));
  }

  private static AdapterState state(
      HybridConfig config, Map<String, PartKeys> keys, Map<String, Adapter> parts) {
    TreeMap<String, NDArray> tensors = new TreeMap<>();
    Map<String, ObjectNode> configs = new LinkedHashMap<>();
    parts.forEach(
        (name, part) -> {
          AdapterState state = part.state();
          PartKeys own = keysOf(keys, name);
          state.tensors().forEach((key, array) -> tensors.put(own.outer(key), array));
          configs.put(name, state.config());
        });
    return new AdapterState(config.toJson(configs), tensors);
  }

  static Map<String, PartKeys> keys(HybridConfig config) {
    Map<String, PartKeys> keys = new LinkedHashMap<>();
    config
        .parts()
        .forEach((name, part) -> keys.put(name, new PartKeys(name, PeftMethods.of(part))));
    return keys;
  }

  private static PartKeys keysOf(Map<String, PartKeys> keys, String part) {
    PartKeys found = keys.get(part);
    if (found == null) {
      throw new AdapterStateException("the hybrid has no part '" + part + "'");
    }
    return found;
  }

  /** The tensors of each part under its own keys. */
  static Map<String, Map<String, NDArray>> divide(
      Map<String, NDArray> tensors, Map<String, PartKeys> keys) {
    Map<String, Map<String, NDArray>> divided = new LinkedHashMap<>();
    keys.keySet().forEach(part -> divided.put(part, new LinkedHashMap<>()));
    tensors.forEach(
        (key, array) -> {
          String part = partOf(key, keys);
          Map<String, NDArray> own = part == null ? null : divided.get(part);
          if (part == null || own == null) {
            throw new AdapterStateException(
                "no place for "
                    + key
                    + ": the keys of this hybrid begin with "
                    + String.join(", ", keys.values().stream().map(PartKeys::space).toList()));
          }
          own.put(keysOf(keys, part).inner(key), array);
        });
    return divided;
  }

  private static @Nullable String partOf(String key, Map<String, PartKeys> keys) {
    for (Map.Entry<String, PartKeys> part : keys.entrySet()) {
      if (key.startsWith(part.getValue().space())) {
        return part.getKey();
      }
    }
    return null;
  }

  @Override
  public boolean recognises(Path directory) {
    return HybridDirectory.isOne(directory);
  }

  @Override
  public SavedAdapter read(Path directory) {
    return HybridDirectory.read(directory);
  }

  @Override
  public void write(Path directory, AdapterState state) {
    HybridDirectory.write(directory, state);
  }
}
