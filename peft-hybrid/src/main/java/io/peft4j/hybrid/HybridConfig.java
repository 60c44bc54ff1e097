package io.peft4j.hybrid;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.AdapterSet;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import io.peft4j.spi.PeftMethod;
import io.peft4j.spi.PeftMethods;
import io.peft4j.state.Json;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

/**
 * Several adapters as one: named parts, each of any method. Immutable.
 *
 * <pre>{@code
 * HybridConfig config =
 *     HybridConfig.builder()
 *         .part("domain", LoraConfig.builder().rank(16).targetModules("q_proj", "v_proj").build())
 *         .part("style", Ia3Config.builder().build())
 *         .build();
 * PeftModel model = Peft.wrap(base, config);
 * model.setActiveAdapters("default/domain");   // "style" is switched off
 * model.trainAdapters("default/style");        // "domain" is frozen
 * model.save(directory);                       // directory/domain, directory/style
 * }</pre>
 *
 * <p>The parts act together as adapters do that are active at once: their effects on a layer add
 * up, or follow each other, in the order of the parts. A request names the hybrid for all parts,
 * {@code hybrid/part} for one, {@code hybrid/part+part} for some; so does whoever trains, merges or
 * saves.
 *
 * <h2>State keys</h2>
 *
 * <pre>
 * key       = namespace "." part "." rest
 * namespace = the method's key space, "_weights": lora_weights, adapter_weights, ia3_weights, ...
 * part      = one or more of A-Z a-z 0-9 _ -
 * rest      = the part's own state key, without the prefix that its method puts before paths
 *             (base_model.model. for the methods of Hugging Face PEFT)
 * </pre>
 *
 * <p>For example {@code lora_weights.domain.model.layers.0.self_attn.q_proj.lora_A.weight}. A key
 * of the part that has no such prefix stands whole, as in {@code
 * vera_weights.style.base_model.vera_A}. No two parts can have a key in common, since the names of
 * parts are different and have no dot.
 */
public final class HybridConfig implements PeftConfig {
  /** The method's name. */
  public static final String NAME = "HYBRID";

  /** Most parts of a hybrid. */
  public static final int MAX_PARTS = 64;

  static final String VERSION_KEY = "format_version";
  static final String PARTS_KEY = "parts";
  static final String NAME_KEY = "name";
  static final String TYPE_KEY = "peft_type";
  static final String CONFIG_KEY = "config";
  static final int VERSION = 1;

  private final Map<String, PeftConfig> parts;

  private HybridConfig(Map<String, PeftConfig> parts) {
    this.parts = Collections.unmodifiableMap(new LinkedHashMap<>(parts));
    if (parts.isEmpty() || parts.size() > MAX_PARTS) {
      throw new InvalidConfigException(
          "a hybrid has 1 to " + MAX_PARTS + " parts, given were " + parts.size());
    }
  }

  /**
   * Starts a hybrid.
   *
   * @return a builder
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Reads what {@link #toJson} writes.
   *
   * @param json the keys
   * @return the checked configuration
   * @throws InvalidConfigException if a value is wrong, or no method on the class path reads a part
   */
  public static HybridConfig fromJson(ObjectNode json) {
    Builder builder = builder();
    for (PartEntry entry : PartEntry.all(json, true)) {
      builder.part(entry.name(), entry.method().readConfig(entry.config()));
    }
    return builder.build();
  }

  /**
   * The parts.
   *
   * @return name to configuration, in the order in which they act
   */
  public Map<String, PeftConfig> parts() {
    return parts;
  }

  /**
   * One part.
   *
   * @param name the part
   * @return its configuration
   * @throws InvalidConfigException if there is none of that name
   */
  public PeftConfig part(String name) {
    PeftConfig part = parts.get(name);
    if (part == null) {
      throw new InvalidConfigException(
          "the hybrid has no part '" + name + "'; its parts are " + parts.keySet());
    }
    return part;
  }

  /**
   * Starts from the parts of this hybrid.
   *
   * @return a builder
   */
  public Builder toBuilder() {
    Builder builder = builder();
    builder.parts.putAll(parts);
    return builder;
  }

  @Override
  public String peftType() {
    return NAME;
  }

  /**
   * The whole hybrid: {@code peft_type}, {@code format_version} and {@code parts}, a list of
   * objects with {@code name}, {@code peft_type} and {@code config}, the keys of the part's own
   * file.
   *
   * @return a new object
   */
  @Override
  public ObjectNode toJson() {
    Map<String, ObjectNode> configs = new LinkedHashMap<>();
    parts.forEach((name, part) -> configs.put(name, part.toJson()));
    return toJson(configs);
  }

  /** The keys with other forms of the parts' configurations, those in which they are saved. */
  ObjectNode toJson(Map<String, ObjectNode> configs) {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put(TYPE_KEY, NAME).put(VERSION_KEY, VERSION);
    ArrayNode list = json.putArray(PARTS_KEY);
    parts.forEach(
        (name, part) ->
            list.addObject()
                .put(NAME_KEY, name)
                .put(TYPE_KEY, part.peftType())
                .set(CONFIG_KEY, configs.get(name)));
    return json;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof HybridConfig config && toString().equals(config.toString());
  }

  @Override
  public int hashCode() {
    return toString().hashCode();
  }

  /**
   * The hybrid as JSON.
   *
   * @return several lines
   */
  @Override
  public String toString() {
    return Json.toPythonString(toJson());
  }

  /** Collects parts. For the use of one thread. */
  public static final class Builder {
    private final Map<String, PeftConfig> parts = new LinkedHashMap<>();

    private Builder() {}

    /**
     * Adds a part.
     *
     * @param name letters, digits, {@code _} and {@code -}; not in use, not even in other case, as
     *     it names a directory
     * @param config of any method but hybrids and those that train the base itself
     * @return this
     * @throws InvalidConfigException if the name or the method cannot be
     */
    public Builder part(String name, PeftConfig config) {
      AdapterSet.checkName(name);
      String lower = name.toLowerCase(Locale.ROOT);
      if (parts.keySet().stream().anyMatch(other -> other.toLowerCase(Locale.ROOT).equals(lower))) {
        throw new InvalidConfigException(
            "two parts of a hybrid are named '" + name + "', or differ in case only");
      }
      PeftMethod method = PeftMethods.of(config);
      if (method instanceof HybridMethod) {
        throw new InvalidConfigException(
            "part '" + name + "' is a hybrid itself; add its parts instead");
      }
      if (method.trainsBase()) {
        throw new InvalidConfigException(
            "part '"
                + name
                + "' trains the base itself ("
                + method.name()
                + "), which is no part of an adapter");
      }
      parts.put(name, config);
      return this;
    }

    /**
     * Checks and makes the hybrid.
     *
     * @return the configuration
     * @throws InvalidConfigException if there is no part, or more than {@value #MAX_PARTS}
     */
    public HybridConfig build() {
      return new HybridConfig(parts);
    }
  }
}
