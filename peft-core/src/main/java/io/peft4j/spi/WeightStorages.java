package io.peft4j.spi;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.state.TensorStore;
import java.util.Map;
import java.util.Optional;
import java.util.ServiceLoader;
import org.jspecify.annotations.Nullable;

/** The storages of weights on the class path. */
public final class WeightStorages {
  private static final String KEY = "quantization_config";
  private static final String BITS_AND_BYTES = "bitsandbytes";

  /** Which of this project's modules brings a storage. */
  private static final Map<String, String> MODULES = Map.of(BITS_AND_BYTES, "peft-qlora");

  private WeightStorages() {}

  /**
   * A storage and the settings that it found.
   *
   * @param storage the storage
   * @param settings its settings
   */
  public record Chosen(WeightStorage storage, QuantizationConfig settings) {

    /**
     * Looks through a checkpoint.
     *
     * @param tensors the checkpoint
     * @param origin what messages call it
     * @return its weights
     * @throws io.peft4j.MalformedFileException if they are not whole
     */
    public CheckpointWeights open(TensorStore tensors, String origin) {
      return storage.open(settings, tensors, origin);
    }
  }

  /**
   * Finds the storage of a model.
   *
   * @param config the keys of {@code config.json}
   * @param asked how to quantize a model that is not yet; null to leave it as it is
   * @param origin what messages call the configuration
   * @return the storage; empty if the model is of plain tensors and shall stay so
   * @throws InvalidConfigException if the settings are wrong, if the class path lacks the module,
   *     or if the model is quantized already and shall be in another way
   */
  public static Optional<Chosen> find(
      ObjectNode config, @Nullable QuantizationConfig asked, String origin) {
    JsonNode given = config.path(KEY);
    if (given.isMissingNode() || given.isNull()) {
      return asked == null ? Optional.empty() : Optional.of(chosen(asked.toJson(), origin));
    }
    if (!(given instanceof ObjectNode settings)) {
      throw new InvalidConfigException(origin + ": " + KEY + " must be an object, but is " + given);
    }
    if (asked != null) {
      throw new InvalidConfigException(
          origin + ": the model is quantized already (" + method(settings) + ")");
    }
    return Optional.of(chosen(settings, origin));
  }

  private static String method(ObjectNode settings) {
    String method = settings.path("quant_method").asText("");
    boolean bits = settings.has("load_in_4bit") || settings.has("load_in_8bit");
    // transformers wrote no method in the beginning.
    return method.isEmpty() && bits ? BITS_AND_BYTES : method;
  }

  private static Chosen chosen(ObjectNode settings, String origin) {
    String method = method(settings);
    for (WeightStorage storage : ServiceLoader.load(WeightStorage.class, loader())) {
      if (storage.method().equals(method)) {
        return new Chosen(storage, storage.settings(settings, origin));
      }
    }
    String module = MODULES.get(method);
    throw new InvalidConfigException(
        origin
            + ": "
            + KEY
            + ": weights quantized by '"
            + method
            + (module == null
                ? "' are not implemented; implemented is bitsandbytes in 4 bits"
                : "' need the module " + module + " on the class path"));
  }

  private static ClassLoader loader() {
    ClassLoader context = Thread.currentThread().getContextClassLoader();
    return context == null ? WeightStorages.class.getClassLoader() : context;
  }
}
