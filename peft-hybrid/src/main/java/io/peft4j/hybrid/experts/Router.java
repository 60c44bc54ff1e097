package io.peft4j.hybrid.experts;

import ai.djl.ndarray.NDList;
import java.util.List;

/** Decides how much each expert has to say about each row. */
@FunctionalInterface
public interface Router {

  /**
   * The weights of a batch.
   *
   * @param inputs the network's inputs, the first dimension of each the batch; they stay the
   *     caller's
   * @param experts the experts' names
   * @return for each row a weight for each expert, finite, at least one of them not 0; experts of
   *     weight 0 are not computed
   */
  float[][] weights(NDList inputs, List<String> experts);
}
