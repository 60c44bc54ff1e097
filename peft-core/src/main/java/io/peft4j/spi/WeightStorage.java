package io.peft4j.spi;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.state.TensorStore;

/**
 * A way in which checkpoints hold weights that are not plain tensors. A module names its storage in
 * {@code META-INF/services}; whoever reads checkpoints finds it by what {@code config.json} says.
 */
public interface WeightStorage {

  /**
   * The storage's name in files.
   *
   * @return the {@code quant_method}, for example {@code bitsandbytes}
   */
  String method();

  /**
   * Reads settings.
   *
   * @param settings the keys of {@code quantization_config}
   * @param origin what messages call the file they are from
   * @return the settings, checked
   * @throws io.peft4j.InvalidConfigException if they are wrong or ask for what is not implemented
   */
  QuantizationConfig settings(ObjectNode settings, String origin);

  /**
   * Looks through a checkpoint: which of its tensors are pieces of a weight, and whether the pieces
   * are whole and fit. Nothing is loaded.
   *
   * @param settings what {@link #settings} gave
   * @param tensors the checkpoint; must be open while weights are made, which stay valid afterwards
   * @param origin what messages call the checkpoint
   * @return its weights
   * @throws io.peft4j.MalformedFileException if pieces are missing, surplus, or do not fit
   */
  CheckpointWeights open(QuantizationConfig settings, TensorStore tensors, String origin);
}
