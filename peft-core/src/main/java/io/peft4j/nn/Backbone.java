package io.peft4j.nn;

import ai.djl.Device;
import ai.djl.ndarray.NDList;
import io.peft4j.target.ModelLayout;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * A network that methods can attach to: it says where, and computes with what a pass carries. This
 * project's transformers are backbones; stock networks are made into one when they are wrapped.
 */
public interface Backbone {

  /**
   * The names, shapes and layers.
   *
   * @return the layout
   */
  default ModelLayout layout() {
    return weights().layout();
  }

  /**
   * The weights.
   *
   * @return the store, closed by whoever closes this network
   */
  WeightStore weights();

  /**
   * Computes the network with the weights and adapters of a pass. Intermediate arrays may be left
   * to the caller's {@link ai.djl.ndarray.NDScope}.
   *
   * @param pass weights and adapters
   * @param inputs the inputs, the first dimension of each the batch; they stay the caller's
   * @return the outputs, the first dimension of each the batch
   */
  NDList forward(Pass pass, NDList inputs);

  /**
   * Computes the loss of a causal language model and adds its gradients to those that the trained
   * tensors hold, if this network knows a cheaper way to do so than to record {@link #forward} and
   * follow the loss back. Intermediate arrays may be left to the caller's {@link
   * ai.djl.ndarray.NDScope}.
   *
   * @param pass weights, adapters and options of a training step
   * @param inputs as for {@link #forward}
   * @param loss what is made small; at least one label counts
   * @param weight multiplies the gradients, not the result
   * @return the loss; empty if there is no such way, and then nothing has been changed
   */
  default OptionalDouble accumulateGradients(
      Pass pass, NDList inputs, NextTokens loss, double weight) {
    return OptionalDouble.empty();
  }

  /**
   * Tells whether adapters can only act through the weights of a layer and not on its activations,
   * as in stock networks.
   *
   * @return false where the layers of this package are used
   */
  default boolean weightsOnly() {
    return false;
  }

  /**
   * Where the weights and adapters live.
   *
   * @return the device
   */
  default Device device() {
    return Device.cpu();
  }

  /**
   * Makes merged weights the network's own for good.
   *
   * @param merged the weights that have been put in place of the base's
   * @throws io.peft4j.AdapterStateException if that is not possible while passes compute with the
   *     base's own weights; nothing is changed then
   */
  default void keep(WeightStore.Replacement merged) {
    merged.keep();
  }

  /**
   * Where the network comes from, for the files that adapters are saved in.
   *
   * @return the origin, if it is known
   */
  default Optional<Origin> origin() {
    return Optional.empty();
  }

  /**
   * Where a network comes from.
   *
   * @param nameOrPath directory or name of the checkpoint
   * @param className Hugging Face's class, for example {@code BertModel}
   * @param library the Python module of that class
   */
  record Origin(String nameOrPath, String className, String library) {}
}
