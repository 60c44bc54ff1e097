package io.peft4j.qlora;

import ai.djl.Device;
import ai.djl.ndarray.NDScope;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.nn.Backbone;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.nn.WeightStore;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.GradMode;
import java.util.HashMap;
import java.util.Map;

/** Puts a base into 4 bits that is in memory or mapped from its file. */
public final class Qlora {
  private Qlora() {}

  /** Sees a layer's weight and what it was quantized to, before the first is given up. */
  @FunctionalInterface
  interface Observer {
    void quantized(LayerSpec layer, Weight before, FourBitWeight after);
  }

  /**
   * Quantizes the linear layers of a base for good, but for those that the configuration or, if it
   * names none, transformers skips. One layer after the other: the most that is dense in memory is
   * one weight. Passes that have begun go on with the old weights. Nothing is changed if anything
   * fails.
   *
   * @param base a network on the CPU made of this project's layers; it stays the caller's
   * @param config how
   * @return false if the base is in 4 bits already, and so left as it is
   * @throws InvalidConfigException if the base is a stock network or on another device, or no layer
   *     is left to quantize
   * @throws AdapterStateException if several models are open over the base, or adapters are merged
   *     into it
   * @throws io.peft4j.MalformedFileException if a weight is not finite
   */
  public static boolean quantize(Backbone base, BitsAndBytesConfig config) {
    return quantize(base, config, (layer, before, after) -> {});
  }

  static boolean quantize(Backbone base, BitsAndBytesConfig config, Observer observer) {
    if (base.weightsOnly()) {
      throw new InvalidConfigException(
          "the layers of a stock network hold their own weights and cannot be quantized; load the"
              + " model with this library");
    }
    if (!base.device().equals(Device.cpu())) {
      throw new InvalidConfigException(
          "models are quantized on the CPU; this one is on " + base.device());
    }
    WeightStore store = base.weights();
    try (WeightSnapshot lease = store.lease();
        GradMode off = GradMode.off()) {
      if (isQuantized(lease, base.layout())) {
        return false;
      }
      if (store.wrappers() > 1) {
        throw new AdapterStateException(
            "another model is open over the same base: close it before quantizing");
      }
      Map<Integer, Weight> packed = new HashMap<>();
      try {
        pack(base.layout(), lease, config, observer, packed);
        store.replace(packed).keep();
      } catch (RuntimeException | Error e) {
        packed.values().forEach(Weight::close);
        throw e;
      }
      return true;
    }
  }

  /**
   * Tells whether any weight of a model is in 4 bits: then what is not was left so on purpose.
   *
   * @param weights the weights
   * @param layout their names
   * @return true if one is
   */
  static boolean isQuantized(WeightSnapshot weights, ModelLayout layout) {
    return layout.parameterNames().stream()
        .anyMatch(name -> weights.weight(layout.parameterIndex(name)) instanceof FourBitWeight);
  }

  private static void pack(
      ModelLayout layout,
      WeightSnapshot weights,
      BitsAndBytesConfig config,
      Observer observer,
      Map<Integer, Weight> packed) {
    SkippedModules skipped = SkippedModules.of(config, layout);
    for (LayerSpec layer : layout.layers()) {
      if (!layer.kind().isLinear()
          || skipped.contains(layer.path())
          || layout.tied().containsKey(layer.weightName())) {
        continue;
      }
      int index = layout.parameterIndex(layer.weightName());
      Weight before = weights.weight(index);
      try (NDScope scope = new NDScope()) {
        scope.suppressNotUsedWarning();
        FourBitWeight after = FourBitWeight.quantize(before, config, layer);
        packed.put(index, after);
        observer.quantized(layer, before, after);
      }
    }
    if (packed.isEmpty()) {
      throw new InvalidConfigException(
          "no layer is left to quantize: llm_int8_skip_modules "
              + config.skipModules().map(Object::toString).orElse("")
              + " skips every linear layer of this "
              + layout.modelType()
              + " model");
    }
  }
}
