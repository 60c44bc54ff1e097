package io.peft4j.target;

import ai.djl.ndarray.types.Shape;

/**
 * One layer of a model: a module without children that has parameters.
 *
 * @param slot position among the model's layers, from 0
 * @param path dotted path as Hugging Face gives it, for example {@code
 *     model.layers.0.self_attn.q_proj}
 * @param kind what the layer computes
 * @param weight shape of {@code weight} as stored
 * @param bias whether the layer has a {@code bias}
 */
public record LayerSpec(int slot, String path, LayerKind kind, Shape weight, boolean bias) {

  /**
   * The name of the layer's weight.
   *
   * @return {@code path.weight}
   */
  public String weightName() {
    return path + ".weight";
  }

  /**
   * The name of the layer's bias, whether it has one or not.
   *
   * @return {@code path.bias}
   */
  public String biasName() {
    return path + ".bias";
  }

  /**
   * The size of an input vector; for embeddings the number of rows, for convolutions the channels.
   *
   * @return input features
   */
  public long inFeatures() {
    return switch (kind) {
      case LINEAR_TRANSPOSED, EMBEDDING -> weight.get(0);
      default -> weight.dimension() > 1 ? weight.get(1) : weight.get(0);
    };
  }

  /**
   * The size of an output vector; for convolutions the channels.
   *
   * @return output features
   */
  public long outFeatures() {
    return switch (kind) {
      case LINEAR_TRANSPOSED, EMBEDDING -> weight.get(1);
      default -> weight.get(0);
    };
  }
}
