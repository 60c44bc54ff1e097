package io.peft4j.qlora;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.lora.LoraConfig;
import io.peft4j.lora.LoraMethod;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What users write about QLoRA in training configurations: what they write about LoRA, the keys of
 * transformers' {@code BitsAndBytesConfig}, and LLaMA-Factory's ({@code quantization_bit}, {@code
 * quantization_type}, {@code double_quantization}, {@code quantization_method}).
 *
 * <p>Where nothing is said, the base is quantized to NF4 with double quantization, as in the paper.
 * {@code init_lora_weights} may be {@code loftq}, {@code pissa} or {@code pissa_niter_N}: see
 * {@link QloraInitialization}; {@code loftq_config} may say what is done anyway, 4 bits in one
 * iteration.
 */
final class QloraSettings {
  private static final String LOFTQ = "loftq_config";
  private static final String BITS = "quantization_bit";
  private static final String LIBRARY = "quantization_method";
  private static final String FOUR = "load_in_4bit";
  private static final String EIGHT = "load_in_8bit";

  /** Spellings, and the key that each stands for. */
  private static final Map<String, String> NAMES = names();

  private static final LoraMethod LORA = new LoraMethod();

  private QloraSettings() {}

  private static Map<String, String> names() {
    Map<String, String> names = new LinkedHashMap<>();
    for (String key :
        List.of(
            "bnb_4bit_quant_type",
            "bnb_4bit_use_double_quant",
            "bnb_4bit_compute_dtype",
            "bnb_4bit_quant_storage",
            "bnb_4bit_blocksize",
            "llm_int8_skip_modules")) {
      names.put(key, key);
    }
    names.put("quantization_type", "bnb_4bit_quant_type");
    names.put("double_quantization", "bnb_4bit_use_double_quant");
    names.put("use_bnb_nested_quant", "bnb_4bit_use_double_quant");
    return names;
  }

  static Set<String> all() {
    Set<String> all = new LinkedHashSet<>(LORA.settings());
    all.addAll(quantization());
    all.add(LOFTQ);
    return all;
  }

  /** Those that say how the base is quantized. */
  static Set<String> quantization() {
    Set<String> all = new LinkedHashSet<>(NAMES.keySet());
    all.addAll(List.of(BITS, LIBRARY, FOUR, EIGHT));
    return all;
  }

  /** From what {@link QloraConfig#toJson} gives. */
  static QloraConfig read(ObjectNode json) {
    ObjectNode lora = json.deepCopy();
    JsonNode quantization = lora.remove(QloraConfig.QUANTIZATION);
    QloraConfig.Builder builder = QloraConfig.builder();
    takeInitialization(lora, builder);
    if (quantization instanceof ObjectNode settings) {
      builder.quantization(BitsAndBytesConfig.read(settings, QloraMethod.NAME));
    }
    return builder.lora(LoraConfig.fromJson(lora)).build();
  }

  static QloraConfig config(ObjectNode settings) {
    ObjectNode lora = settings.deepCopy();
    allow(lora.remove(FOUR), FOUR, "true");
    allow(lora.remove(EIGHT), EIGHT, "false");
    allow(lora.remove(BITS), BITS, "4");
    allow(lora.remove(LIBRARY), LIBRARY, "bitsandbytes", "bnb");
    if (lora.remove(LOFTQ) instanceof ObjectNode loftq) {
      allow(loftq.remove("loftq_bits"), "loftq_bits", "4");
      allow(loftq.remove("loftq_iter"), "loftq_iter", "1");
      if (!loftq.isEmpty()) {
        throw new InvalidConfigException(
            LOFTQ + " takes loftq_bits and loftq_iter; given was also " + loftq);
      }
    }
    ObjectNode quantization = JsonNodeFactory.instance.objectNode();
    quantization.put(FOUR, true);
    Map<String, String> said = new LinkedHashMap<>();
    NAMES.forEach(
        (spelling, key) -> {
          JsonNode value = lora.remove(spelling);
          if (value != null) {
            String before = said.put(key, spelling);
            if (before != null) {
              throw new InvalidConfigException(
                  before + " and " + spelling + " say the same: give one of them");
            }
            quantization.set(key, value);
          }
        });
    if (!quantization.has("bnb_4bit_quant_type")) {
      quantization.put("bnb_4bit_quant_type", "nf4");
    }
    if (!quantization.has("bnb_4bit_use_double_quant")) {
      quantization.put("bnb_4bit_use_double_quant", true);
    }
    QloraConfig.Builder builder =
        QloraConfig.builder()
            .quantization(BitsAndBytesConfig.read(quantization, "the settings of qlora"));
    takeInitialization(lora, builder);
    return builder.lora((LoraConfig) LORA.readSettings(lora)).build();
  }

  private static void takeInitialization(ObjectNode lora, QloraConfig.Builder builder) {
    Optional<QloraInitialization> rule =
        QloraInitialization.parse(lora.path(QloraConfig.INITIALIZATION).asText(""));
    rule.ifPresent(
        found -> {
          lora.remove(QloraConfig.INITIALIZATION);
          builder.initialization(found);
        });
  }

  private static void allow(@Nullable JsonNode value, String key, String... allowed) {
    if (value == null) {
      return;
    }
    for (String text : allowed) {
      if (value.isValueNode() && value.asText().equals(text)) {
        return;
      }
    }
    throw new InvalidConfigException(
        key + " must be " + String.join(" or ", allowed) + ", was " + value);
  }
}
