package io.peft4j.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;

/**
 * Inputs of one forward pass and what should come out. Owns its arrays by way of their manager;
 * whoever receives it closes it. A {@link Trainer} closes the batches it takes.
 */
public final class Batch implements AutoCloseable {
  private final NDManager manager;
  private final NDList inputs;
  private final NDList labels;
  private final long tokens;

  /**
   * A batch that counts no tokens.
   *
   * @param manager the manager of the arrays, of this batch only; closed with it
   * @param inputs the model's inputs, the first dimension of each the rows; at least one
   * @param labels what the loss takes
   */
  public Batch(NDManager manager, NDList inputs, NDList labels) {
    this(manager, inputs, labels, 0);
  }

  /**
   * A batch.
   *
   * @param manager the manager of the arrays, of this batch only; closed with it
   * @param inputs the model's inputs, the first dimension of each the rows; at least one
   * @param labels what the loss takes
   * @param tokens how many tokens it has, padding not counted; 0 if that means nothing
   */
  public Batch(NDManager manager, NDList inputs, NDList labels, long tokens) {
    this.manager = manager;
    this.inputs = inputs;
    this.labels = labels;
    this.tokens = tokens;
  }

  /**
   * The model's inputs.
   *
   * @return arrays that stay this batch's
   */
  public NDList inputs() {
    return inputs;
  }

  /**
   * What the loss takes.
   *
   * @return arrays that stay this batch's
   */
  public NDList labels() {
    return labels;
  }

  /**
   * How many rows the batch has.
   *
   * @return the first dimension of the first input
   */
  public long rows() {
    NDArray first = inputs.head();
    return first.getShape().get(0);
  }

  /**
   * How many tokens it has, padding not counted.
   *
   * @return tokens; 0 if that means nothing
   */
  public long tokens() {
    return tokens;
  }

  @Override
  public void close() {
    manager.close();
  }
}
