package io.peft4j.qlora;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.qlora.block.PackedBlocks;
import io.peft4j.qlora.block.QuantType;
import io.peft4j.spi.QuantizationConfig;
import io.peft4j.state.Json;
import io.peft4j.state.TensorType;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * How a model is quantized to 4 bits: transformers' {@code BitsAndBytesConfig}, and the size of a
 * block, which transformers leaves at 64. Immutable.
 *
 * <p>In {@code config.json} the object {@code quantization_config} has the keys {@code
 * load_in_4bit}, {@code bnb_4bit_quant_type}, {@code bnb_4bit_use_double_quant}, {@code
 * bnb_4bit_compute_dtype}, {@code bnb_4bit_quant_storage}, {@code llm_int8_skip_modules}, {@code
 * quant_method}, and for other blocks than of 64 values {@code bnb_4bit_blocksize}, which
 * transformers passes over. Keys for 8 bits are written with their defaults and not used.
 */
public final class BitsAndBytesConfig implements QuantizationConfig {
  static final String METHOD = "bitsandbytes";
  private static final String BLOCK_SIZE = "bnb_4bit_blocksize";
  private static final int USUAL_BLOCK = 64;

  private static final Map<String, TensorType> STORAGES =
      Map.of(
          "uint8", TensorType.U8,
          "int8", TensorType.I8,
          "float16", TensorType.F16,
          "bfloat16", TensorType.BF16,
          "float32", TensorType.F32,
          "float64", TensorType.F64);

  private final QuantType type;
  private final int blockSize;
  private final boolean doubleQuantization;
  private final TensorType computeType;
  private final TensorType storageType;
  private final @Nullable List<String> skipModules;

  private BitsAndBytesConfig(Builder builder) {
    type = builder.type;
    blockSize = builder.blockSize;
    doubleQuantization = builder.doubleQuantization;
    computeType = builder.computeType;
    storageType = builder.storageType;
    skipModules = builder.skipModules;
  }

  /**
   * Starts a configuration.
   *
   * @return a builder: NF4 in blocks of 64, without double quantization
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Reads the keys of {@code quantization_config}.
   *
   * @param json the keys; absent ones have transformers' defaults
   * @param origin what messages call the file
   * @return the configuration
   * @throws InvalidConfigException if a value is wrong, or 8 bits are asked for
   */
  public static BitsAndBytesConfig read(ObjectNode json, String origin) {
    Keys keys = new Keys(json, origin);
    if (keys.flag("load_in_8bit") || !keys.flag("load_in_4bit")) {
      throw keys.wrong("load_in_4bit", "true: only bitsandbytes in 4 bits is implemented");
    }
    Builder builder =
        builder()
            .type(QuantType.named(keys.text("bnb_4bit_quant_type", "fp4")))
            .doubleQuantization(keys.flag("bnb_4bit_use_double_quant"))
            .computeType(keys.type("bnb_4bit_compute_dtype", "float32"));
    String storage = keys.text("bnb_4bit_quant_storage", "uint8");
    TensorType stored = STORAGES.get(storage);
    if (stored == null) {
      throw keys.wrong("bnb_4bit_quant_storage", "one of " + new TreeSet<>(STORAGES.keySet()));
    }
    builder.storageType(stored);
    keys.list("llm_int8_skip_modules").ifPresent(builder::skipModules);
    if (json.has(BLOCK_SIZE)) {
      builder.blockSize(json.get(BLOCK_SIZE).asInt(-1));
    }
    return builder.build();
  }

  /** Reads values of keys. */
  private record Keys(ObjectNode json, String origin) {

    InvalidConfigException wrong(String key, String allowed) {
      return new InvalidConfigException(
          origin
              + ": quantization_config."
              + key
              + " must be "
              + allowed
              + "; given was "
              + (json.has(key) ? json.get(key) : "nothing"));
    }

    private @Nullable JsonNode value(String key) {
      JsonNode value = json.get(key);
      return value == null || value.isNull() ? null : value;
    }

    boolean flag(String key) {
      JsonNode value = value(key);
      if (value != null && !value.isBoolean()) {
        throw wrong(key, "true or false");
      }
      return value != null && value.booleanValue();
    }

    String text(String key, String absent) {
      JsonNode value = value(key);
      if (value != null && !value.isTextual()) {
        throw wrong(key, "a string");
      }
      return value == null ? absent : value.textValue();
    }

    TensorType type(String key, String absent) {
      return TensorType.parse(text(key, absent))
          .filter(TensorType::isFloat32Readable)
          .orElseThrow(() -> wrong(key, "float32, bfloat16 or float16"));
    }

    Optional<List<String>> list(String key) {
      JsonNode value = value(key);
      if (value == null) {
        return Optional.empty();
      }
      List<String> items = new ArrayList<>();
      for (JsonNode item : value) {
        if (!item.isTextual()) {
          throw wrong(key, "a list of strings");
        }
        items.add(item.textValue());
      }
      if (!value.isArray()) {
        throw wrong(key, "a list of strings");
      }
      return Optional.of(items);
    }
  }

  @Override
  public ObjectNode toJson() {
    ObjectNode json = Json.mapper().createObjectNode();
    json.put("_load_in_4bit", true);
    json.put("_load_in_8bit", false);
    json.put("bnb_4bit_compute_dtype", name(computeType));
    json.put("bnb_4bit_quant_storage", name(storageType));
    json.put("bnb_4bit_quant_type", type.key());
    json.put("bnb_4bit_use_double_quant", doubleQuantization);
    json.put("llm_int8_enable_fp32_cpu_offload", false);
    json.put("llm_int8_has_fp16_weight", false);
    if (skipModules == null) {
      json.putNull("llm_int8_skip_modules");
    } else {
      ArrayNode names = json.putArray("llm_int8_skip_modules");
      skipModules.forEach(names::add);
    }
    json.put("llm_int8_threshold", 6.0);
    json.put("load_in_4bit", true);
    json.put("load_in_8bit", false);
    json.put("quant_method", METHOD);
    if (blockSize != USUAL_BLOCK) {
      json.put(BLOCK_SIZE, blockSize);
    }
    return json;
  }

  /** PyTorch's name of a type. */
  static String name(TensorType type) {
    return STORAGES.entrySet().stream()
        .filter(entry -> entry.getValue() == type)
        .map(Map.Entry::getKey)
        .findFirst()
        .orElseThrow();
  }

  /**
   * The code book.
   *
   * @return NF4 or FP4
   */
  public QuantType type() {
    return type;
  }

  /**
   * How many values share a scale.
   *
   * @return a power of two from 32 to 4096
   */
  public int blockSize() {
    return blockSize;
  }

  /**
   * Whether the scales are quantized too, to 8 bits.
   *
   * @return false if they are float32
   */
  public boolean doubleQuantization() {
    return doubleQuantization;
  }

  /**
   * What products are computed in.
   *
   * @return F32: float32; BF16 or F16: bfloat16 where this machine's CPU is fast at it
   */
  public TensorType computeType() {
    return computeType;
  }

  /**
   * The type that files give the packed codes.
   *
   * @return usually U8
   */
  public TensorType storageType() {
    return storageType;
  }

  /**
   * The modules that are left as they are.
   *
   * @return names, ends of names, or regular expressions for their beginnings; empty if it is the
   *     model's output layer, what is tied to it, and what the model defines last
   */
  public Optional<List<String>> skipModules() {
    return Optional.ofNullable(skipModules);
  }

  /** Collects a {@link BitsAndBytesConfig}. */
  public static final class Builder {
    private QuantType type = QuantType.NF4;
    private int blockSize = USUAL_BLOCK;
    private boolean doubleQuantization;
    private TensorType computeType = TensorType.F32;
    private TensorType storageType = TensorType.U8;
    private @Nullable List<String> skipModules;

    private Builder() {}

    /**
     * Sets the code book.
     *
     * @param type NF4 or FP4
     * @return this
     */
    public Builder type(QuantType type) {
      this.type = type;
      return this;
    }

    /**
     * Sets how many values share a scale.
     *
     * @param values a power of two from 32 to 4096
     * @return this
     */
    public Builder blockSize(int values) {
      blockSize = values;
      return this;
    }

    /**
     * Sets whether the scales are quantized too.
     *
     * @param on whether they are
     * @return this
     */
    public Builder doubleQuantization(boolean on) {
      doubleQuantization = on;
      return this;
    }

    /**
     * Sets what products are computed in.
     *
     * @param type F32, BF16 or F16
     * @return this
     */
    public Builder computeType(TensorType type) {
      computeType = type;
      return this;
    }

    /**
     * Sets the type that files give the packed codes.
     *
     * @param type U8, I8, F16, BF16, F32 or F64
     * @return this
     */
    public Builder storageType(TensorType type) {
      storageType = type;
      return this;
    }

    /**
     * Sets the modules that are left as they are, instead of those that would be.
     *
     * @param names names, ends of names, or regular expressions for their beginnings
     * @return this
     */
    public Builder skipModules(List<String> names) {
      skipModules = List.copyOf(names);
      return this;
    }

    /**
     * Finishes the configuration.
     *
     * @return the configuration
     * @throws InvalidConfigException if a value is not allowed
     */
    public BitsAndBytesConfig build() {
      if (!PackedBlocks.BLOCK_SIZES.contains(blockSize)) {
        throw new InvalidConfigException(
            "a block has "
                + new TreeSet<>(PackedBlocks.BLOCK_SIZES)
                + " values; given was "
                + blockSize);
      }
      if (computeType != TensorType.F32
          && computeType != TensorType.BF16
          && computeType != TensorType.F16) {
        throw new InvalidConfigException(
            "products are computed in F32, BF16 or F16; given was " + computeType);
      }
      if (!STORAGES.containsValue(storageType)) {
        throw new InvalidConfigException(
            "packed codes are stored as one of "
                + new TreeSet<>(STORAGES.values())
                + "; given was "
                + storageType);
      }
      return new BitsAndBytesConfig(this);
    }
  }
}
