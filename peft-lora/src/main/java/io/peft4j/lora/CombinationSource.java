package io.peft4j.lora;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.peft4j.InvalidConfigException;
import io.peft4j.state.PeftDirectory;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/** One adapter of a combination, in its saved form, sorted by what its tensors are. */
final class CombinationSource {
  private static final String BASE_WEIGHT = ".base_layer.weight";

  private final String name;
  private final double weight;
  private final LoraConfig config;
  private final Map<LayerSpec, WeightedFactors> layers = new LinkedHashMap<>();

  /** State key to tensor: what is neither A nor B. */
  private final SortedMap<String, NDArray> copies;

  /**
   * Sorts an adapter's tensors.
   *
   * @param name the adapter's name, for messages
   * @param weight w
   * @param config the configuration under which the tensors are saved
   * @param tensors state key to float32 array
   * @throws InvalidConfigException if the adapter is of a kind that cannot be combined
   */
  CombinationSource(
      String name,
      double weight,
      LoraConfig config,
      Map<String, NDArray> tensors,
      ModelLayout layout) {
    this.name = name;
    this.weight = weight;
    this.config = config;
    check();
    copies = new TreeMap<>(tensors);
    for (LayerSpec layer : layout.layers()) {
      NDArray a = copies.remove(LoraAssembly.keyA(layer));
      NDArray b = copies.remove(LoraAssembly.keyB(layer));
      if (a != null && b != null) {
        layers.put(layer, factors(layer, a, b));
      }
    }
  }

  private void check() {
    if (config.useDora()) {
      throw refusal("use_dora: its change of the weight is not a product that could be weighted");
    }
    if (config.loraBias()) {
      throw refusal("lora_bias: the biases of B have no place in a combination");
    }
    if (config.bias() != LoraBias.NONE) {
      throw refusal("bias '" + config.bias().key() + "': trained biases cannot be weighted");
    }
    if (!config.trainableTokenIndices().isEmpty()) {
      throw refusal("trainable_token_indices: trained rows of an embedding cannot be weighted");
    }
  }

  private InvalidConfigException refusal(String reason) {
    return new InvalidConfigException(
        "adapter '" + name + "' cannot be combined because it has " + reason);
  }

  private WeightedFactors factors(LayerSpec layer, NDArray a, NDArray b) {
    Shape shape = b.getShape();
    long rank = a.getShape().get(0);
    if (shape.get(1) != rank) {
      throw refusal(
          "a grouped convolution at " + layer.path() + ", whose B of shape " + shape + " is split");
    }
    return new WeightedFactors(
        a.reshape(rank, -1),
        b.reshape(shape.get(0), rank),
        config.scaling(layer.path(), rank),
        weight);
  }

  String name() {
    return name;
  }

  LoraConfig config() {
    return config;
  }

  /** What it brings to each layer that it adapts, in model order. */
  Map<LayerSpec, WeightedFactors> layers() {
    return layers;
  }

  /**
   * State key to tensor: copies of modules it has trained whole, and of embeddings' own weights.
   */
  SortedMap<String, NDArray> copies() {
    return copies;
  }

  /** Whether a tensor of {@link #copies()} is the base's own weight, saved beside an adapter. */
  static boolean isBaseWeight(String key) {
    return key.startsWith(PeftDirectory.PREFIX) && key.endsWith(BASE_WEIGHT);
  }

  /** The largest rank there is room for. */
  int rank() {
    int rank = config.rank();
    for (int other : config.rankPattern().entries().values()) {
      rank = Math.max(rank, other);
    }
    for (WeightedFactors factors : layers.values()) {
      rank = Math.max(rank, Math.toIntExact(factors.rank()));
    }
    return rank;
  }
}
