package io.peft4j;

import ai.djl.ndarray.NDList;
import io.peft4j.nn.Backbone;
import io.peft4j.nn.PassLease;
import io.peft4j.nn.PassSource;
import io.peft4j.nn.TrainingOptions;

/**
 * A model with chosen adapters: a small value that holds nothing to close, made for one request or
 * kept. Any number of threads may compute with different views of one model at once.
 */
public final class PeftView implements PassSource {
  private final Passes passes;
  private final AdapterSet adapters;

  PeftView(Passes passes, AdapterSet adapters) {
    this.passes = passes;
    this.adapters = adapters;
  }

  /**
   * The adapters that act.
   *
   * @return the set
   */
  public AdapterSet adapters() {
    return adapters;
  }

  /**
   * Computes the network without dropout and gradients.
   *
   * @param inputs the network's inputs, the first dimension of each the batch; they stay the
   *     caller's
   * @return the outputs, which belong to the manager of the first input and to the caller's {@link
   *     ai.djl.ndarray.NDScope}, if one is open
   * @throws AdapterStateException if an adapter has been deleted, or rows and batch differ in
   *     number
   */
  public NDList forward(NDList inputs) {
    return forward(inputs, ForwardMode.INFERENCE);
  }

  /**
   * Computes the network.
   *
   * @param inputs the network's inputs, the first dimension of each the batch; they stay the
   *     caller's
   * @param mode what the pass is for
   * @return the outputs, which belong to the manager of the first input and to the caller's {@link
   *     ai.djl.ndarray.NDScope}, if one is open
   * @throws AdapterStateException if an adapter has been deleted, rows and batch differ in number,
   *     or gradients are asked for while adapters are merged
   */
  public NDList forward(NDList inputs, ForwardMode mode) {
    return passes.forward(inputs, adapters, mode);
  }

  /**
   * Computes a loss and adds its gradients, times a weight, to those that the trained tensors hold.
   * Arrays that this makes are freed.
   *
   * @param inputs the network's inputs, the first dimension of each the batch; they stay the
   *     caller's
   * @param objective what is made small
   * @param mode whether dropout acts; with gradients
   * @param options how the step is computed
   * @param weight multiplies the gradients, not the result
   * @return the loss
   * @throws InvalidConfigException if the objective does not give a float32 scalar, or the mode
   *     records no gradients
   */
  public double accumulateGradients(
      NDList inputs,
      Objective objective,
      ForwardMode mode,
      TrainingOptions options,
      double weight) {
    return passes.accumulateGradients(inputs, adapters, objective, mode, options, weight);
  }

  @Override
  public Backbone backbone() {
    return passes.backbone();
  }

  @Override
  public PassLease lease(long batch, int copies) {
    return passes.lease(batch, copies, adapters);
  }
}
