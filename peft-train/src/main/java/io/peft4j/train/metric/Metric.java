package io.peft4j.train.metric;

import ai.djl.ndarray.NDList;
import java.util.List;
import java.util.Map;

/**
 * Measures predictions. An evaluation calls {@link #begin}, then {@link #add} for each batch in
 * turn, then {@link #result}; a run has many evaluations, one after the other, in one thread.
 */
public interface Metric {
  /** Forgets what was added: an evaluation begins. */
  void begin();

  /**
   * Takes in a batch. Gradients are off, and a scope of the caller's frees what is made meanwhile:
   * what is kept must be Java's own (numbers, arrays of them).
   *
   * @param outputs what the model gave, without dropout, for example logits first; they stay the
   *     caller's
   * @param labels what the batch says they should be; they stay the caller's
   */
  void add(NDList outputs, NDList labels);

  /**
   * Takes in a batch whose rows may have adapters of their own; as {@link #add(NDList, NDList)},
   * which it calls if not overridden.
   *
   * @param outputs what the model gave; they stay the caller's
   * @param labels what the batch says they should be; they stay the caller's
   * @param adapters the adapter of each row; empty if all rows have the same
   */
  default void add(NDList outputs, NDList labels, List<String> adapters) {
    add(outputs, labels);
  }

  /**
   * What was measured over all batches since {@link #begin}.
   *
   * @return short name, for example {@code accuracy}, to value; the order is that of reports. A
   *     value that cannot be told is NaN. {@code loss} and {@code perplexity} are the evaluation's
   *     own names
   */
  Map<String, Double> result();
}
