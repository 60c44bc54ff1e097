package io.peft4j.qlora;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.spi.CheckpointWeights;
import io.peft4j.spi.QuantizationConfig;
import io.peft4j.spi.WeightStorage;
import io.peft4j.state.TensorStore;

/**
 * Checkpoints of bitsandbytes in 4 bits. One whose weights are still plain tensors is quantized
 * while it is loaded, tensor by tensor.
 */
public final class BitsAndBytesStorage implements WeightStorage {

  /** Made by {@link java.util.ServiceLoader}. */
  public BitsAndBytesStorage() {}

  @Override
  public String method() {
    return BitsAndBytesConfig.METHOD;
  }

  @Override
  public QuantizationConfig settings(ObjectNode settings, String origin) {
    return BitsAndBytesConfig.read(settings, origin);
  }

  @Override
  public CheckpointWeights open(QuantizationConfig settings, TensorStore tensors, String origin) {
    if (!(settings instanceof BitsAndBytesConfig config)) {
      throw new InvalidConfigException(
          origin + ": these are no settings of bitsandbytes: " + settings.toJson());
    }
    return new BitsAndBytesWeights(config, tensors, BitsAndBytesReader.read(tensors, origin));
  }
}
