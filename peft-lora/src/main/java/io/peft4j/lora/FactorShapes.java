package io.peft4j.lora;

import ai.djl.ndarray.types.Shape;
import io.peft4j.target.LayerSpec;
import java.util.Arrays;

/** The shapes that the tensors of LoRA have at a layer, as PEFT stores them. */
final class FactorShapes {
  private FactorShapes() {}

  /** A: [rank, in], [rank, count] for an embedding, [rank, in, kernel...] for a convolution. */
  static Shape a(LayerSpec layer, long rank) {
    if (!isConvolution(layer)) {
      return new Shape(rank, layer.inFeatures());
    }
    long[] shape = layer.weight().getShape().clone();
    shape[0] = rank;
    return new Shape(shape);
  }

  /** B: [out, rank], [dimension, rank] for an embedding, [out, rank, 1...] for a convolution. */
  static Shape b(LayerSpec layer, long rank) {
    if (!isConvolution(layer)) {
      return new Shape(layer.outFeatures(), rank);
    }
    long[] shape = ones(layer);
    shape[0] = layer.outFeatures();
    shape[1] = rank;
    return new Shape(shape);
  }

  /** DoRA's m: [out], [dimension] for an embedding, [1, out, 1...] for a convolution. */
  static Shape magnitude(LayerSpec layer) {
    if (!isConvolution(layer)) {
      return new Shape(layer.outFeatures());
    }
    long[] shape = ones(layer);
    shape[1] = layer.outFeatures();
    return new Shape(shape);
  }

  static boolean isConvolution(LayerSpec layer) {
    return switch (layer.kind()) {
      case CONV1D, CONV2D -> true;
      default -> false;
    };
  }

  private static long[] ones(LayerSpec layer) {
    long[] shape = new long[layer.weight().dimension()];
    Arrays.fill(shape, 1);
    return shape;
  }
}
