package io.peft4j.nn;

import ai.djl.ndarray.NDList;

/**
 * What passes hold until they end: weights and adapters that stay as they are meanwhile. Not to be
 * used by two threads at once.
 */
public interface PassLease extends AutoCloseable {

  /**
   * The weights and adapters.
   *
   * @return the pass, valid until this lease is closed
   */
  Pass pass();

  /**
   * Puts the rows of a batch into the order that the pass computes in, where rows that share their
   * adapters lie side by side.
   *
   * @param inputs arrays whose first dimension is the batch; they stay the caller's
   * @return the arrays themselves if nothing moves, else new ones
   */
  NDList order(NDList inputs);

  /**
   * Undoes {@link #order}.
   *
   * @param outputs arrays whose first dimension is the batch
   * @return the arrays themselves if nothing moved, else new ones
   */
  NDList restore(NDList outputs);

  /** Ends the lease. */
  @Override
  void close();
}
