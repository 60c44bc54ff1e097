package io.peft4j.spi;

import com.fasterxml.jackson.databind.node.ObjectNode;

/** How weights are to be quantized: what a {@link WeightStorage} reads. Immutable. */
public interface QuantizationConfig {

  /**
   * The keys of {@code quantization_config} in {@code config.json}, {@code quant_method} among
   * them.
   *
   * @return a new object each time
   */
  ObjectNode toJson();
}
