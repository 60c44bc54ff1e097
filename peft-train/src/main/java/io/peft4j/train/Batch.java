package io.peft4j.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import io.peft4j.AdapterSet;
import io.peft4j.InvalidConfigException;
import java.util.List;

/**
 * Inputs of one forward pass and what should come out. Owns its arrays by way of their manager;
 * whoever receives it closes it. A {@link Trainer} closes the batches it takes.
 */
public final class Batch implements AutoCloseable {
  private final NDManager manager;
  private final NDList inputs;
  private final NDList labels;
  private final long tokens;
  private final String origin;
  private final List<String> adapters;

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
    this(manager, inputs, labels, tokens, "");
  }

  /**
   * A batch that says where it comes from.
   *
   * @param manager the manager of the arrays, of this batch only; closed with it
   * @param inputs the model's inputs, the first dimension of each the rows; at least one
   * @param labels what the loss takes
   * @param tokens how many tokens it has, padding not counted; 0 if that means nothing
   * @param origin what error messages call its data, for example a file and its lines
   */
  public Batch(NDManager manager, NDList inputs, NDList labels, long tokens, String origin) {
    this(manager, inputs, labels, tokens, origin, List.of());
  }

  private Batch(
      NDManager manager,
      NDList inputs,
      NDList labels,
      long tokens,
      String origin,
      List<String> adapters) {
    this.manager = manager;
    this.inputs = inputs;
    this.labels = labels;
    this.tokens = tokens;
    this.origin = origin;
    this.adapters = List.copyOf(adapters);
  }

  /**
   * This batch with an adapter for each row, which alone acts on it: rows of several tasks can so
   * be trained together, each with the adapter of its task.
   *
   * @param names as many adapter names as there are rows; {@link AdapterSet#BASE} for none
   * @return a batch of the same arrays, which is closed in this one's place
   * @throws InvalidConfigException if there is not a name for each row, or one cannot be a name
   */
  public Batch withAdapters(List<String> names) {
    if (AdapterSet.rows(names).rows().size() != rows()) {
      throw new InvalidConfigException(
          "adapters are named for " + names.size() + " rows, but the batch has " + rows());
    }
    return new Batch(manager, inputs, labels, tokens, origin, names);
  }

  /**
   * The adapter of each row.
   *
   * @return adapter names, {@link AdapterSet#BASE} for none; empty if the model's active adapters
   *     act on all rows
   */
  public List<String> adapters() {
    return adapters;
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

  /**
   * Where its data come from.
   *
   * @return text for error messages; empty if it does not say
   */
  public String origin() {
    return origin;
  }

  @Override
  public void close() {
    manager.close();
  }
}
