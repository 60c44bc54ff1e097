package io.peft4j.state;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.peft4j.PeftConfig;
import java.util.Map;
import java.util.Set;

/** An adapter that lies in files. Closed by whoever opened it. */
public interface SavedAdapter extends AutoCloseable {

  /**
   * The checked configuration.
   *
   * @return the configuration
   */
  PeftConfig config();

  /**
   * The state keys of the tensors.
   *
   * @return the keys
   */
  Set<String> keys();

  /**
   * Reads all tensors.
   *
   * @param manager owns the arrays
   * @return state key to float32 array
   */
  Map<String, NDArray> tensors(NDManager manager);

  @Override
  void close();
}
