package io.peft4j.lora;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftConfig;
import io.peft4j.spi.ConfigKeys;
import io.peft4j.state.Json;
import io.peft4j.state.PeftDirectory;
import io.peft4j.state.SafeTensors;
import io.peft4j.state.SavedAdapter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * LoRA as AdapterHub's library saves it, read as an adapter of PEFT's form.
 *
 * <p>{@code adapter_config.json} has {@code architecture} {@code lora} in its {@code config};
 * {@code adapter.safetensors} has {@code <path>.loras.<name>.lora_A} [r, in] and {@code .lora_B}
 * [out, r]. Which layers are adapted is taken from these keys: {@code intermediate_lora} and {@code
 * output_lora} mean other layers in each family (in Llama {@code mlp.down_proj} and {@code
 * mlp.up_proj}). The factor is {@code alpha / r}; libraries before 1.1.0 multiplied by 1 whatever
 * they wrote. Gates, DoRA, vectors of VeRA and (IA)³ are refused, and so are matrices that stand
 * for several at once (GPT-2).
 */
final class AdapterHubLora {
  private static final String TENSORS = "adapter.safetensors";
  private static final String CONFIG = "config";
  private static final String MARK = ".loras.";
  private static final Set<String> KNOWN =
      Set.of(
          "architecture",
          "selfattn_lora",
          "intermediate_lora",
          "output_lora",
          "leave_out",
          "r",
          "alpha",
          "dropout",
          "attn_matrices",
          "composition_mode",
          "init_weights",
          "init_weights_seed",
          "dtype");

  private AdapterHubLora() {}

  static boolean recognises(Path directory) {
    Path file = directory.resolve(PeftDirectory.CONFIG);
    if (!Files.isRegularFile(file)) {
      return false;
    }
    ObjectNode json = Json.readObject(file);
    return !json.has("peft_type") && json.path(CONFIG).path("architecture").asText().equals("lora");
  }

  static SavedAdapter read(Path directory) {
    ObjectNode json = Json.readObject(directory.resolve(PeftDirectory.CONFIG));
    SafeTensors file = SafeTensors.open(directory.resolve(TENSORS));
    try {
      Map<String, String> keys = keys(file, json.path("name").asText());
      return new Opened(config(json, keys), file, keys);
    } catch (RuntimeException e) {
      file.close();
      throw e;
    }
  }

  /** State key to the tensor's name in the file. */
  private static Map<String, String> keys(SafeTensors file, String adapter) {
    Map<String, String> keys = new TreeMap<>();
    String mark = MARK + adapter + ".";
    for (String name : file.names()) {
      int place = name.indexOf(mark);
      String factor = place < 0 ? "" : name.substring(place + mark.length());
      if (!factor.equals("lora_A") && !factor.equals("lora_B")) {
        throw new MalformedFileException(
            "a LoRA adapter of AdapterHub's holds <path>"
                + mark
                + "lora_A and .lora_B; the file has "
                + name);
      }
      keys.put(PeftDirectory.PREFIX + name.substring(0, place) + "." + factor + ".weight", name);
    }
    return keys;
  }

  private static LoraConfig config(ObjectNode json, Map<String, String> keys) {
    ObjectNode own = (ObjectNode) json.get(CONFIG);
    ConfigKeys values = new ConfigKeys(own);
    values.refuseOthers(KNOWN, Set.of("use_gating", "use_dora", "vera_d", "vera_b"));
    if (own.hasNonNull("composition_mode") && !own.get("composition_mode").asText().equals("add")) {
      throw values.wrong("composition_mode", "\"add\"");
    }
    ObjectNode config = JsonNodeFactory.instance.objectNode();
    config.put("r", values.positiveInteger("r"));
    ConfigKeys.putNumber(
        config,
        "lora_alpha",
        ignoresAlpha(json.path("version")) ? config.get("r").intValue() : alpha(values));
    config.put("lora_dropout", own.has("dropout") ? values.fraction("dropout") : 0);
    ArrayNode targets = config.putArray("target_modules");
    TreeSet<String> paths = new TreeSet<>();
    for (String key : keys.keySet()) {
      paths.add(key.substring(PeftDirectory.PREFIX.length(), key.lastIndexOf(".lora_")));
    }
    paths.forEach(targets::add);
    return LoraConfig.fromJson(config);
  }

  private static double alpha(ConfigKeys values) {
    return values.positiveNumber("alpha");
  }

  /** Whether a library wrote it that did not divide: {@code adapters.0.*} and {@code 1.0.*}. */
  private static boolean ignoresAlpha(JsonNode version) {
    return version.asText().matches("adapters\\.(0\\..*|1\\.0(\\..*)?)");
  }

  private record Opened(PeftConfig config, SafeTensors file, Map<String, String> names)
      implements SavedAdapter {
    @Override
    public Set<String> keys() {
      return names.keySet();
    }

    @Override
    public Map<String, NDArray> tensors(NDManager manager) {
      Map<String, NDArray> arrays = new LinkedHashMap<>();
      names.forEach((key, name) -> arrays.put(key, file.float32(manager, name)));
      return arrays;
    }

    @Override
    public void close() {
      file.close();
    }
  }
}
