package io.peft4j.spi;

import ai.djl.ndarray.NDArray;
import io.peft4j.PeftConfig;
import java.util.Map;

/**
 * What is to be attached to a base that was made ready for it. Whoever asked for it closes it.
 *
 * @param config the configuration of the adapter, perhaps of another method than the one asked
 * @param beginnings values that tensors of the new adapter take instead of those that its own
 *     method gives them: state key to float32 array, closed with this
 */
public record Preparation(PeftConfig config, Map<String, NDArray> beginnings)
    implements AutoCloseable {

  @Override
  public void close() {
    beginnings.values().forEach(NDArray::close);
  }
}
