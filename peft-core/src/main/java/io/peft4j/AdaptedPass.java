package io.peft4j;

import ai.djl.ndarray.NDList;
import io.peft4j.nn.Pass;
import io.peft4j.nn.PassLease;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;

/**
 * What one pass holds until it ends: weights and adapters that stay as they are, and the order of
 * its rows.
 */
record AdaptedPass(
    Pass pass, LeasedAdapters adapters, @Nullable RowOrder rows, AtomicBoolean closed)
    implements PassLease {

  AdaptedPass(Pass pass, LeasedAdapters adapters, @Nullable RowOrder rows) {
    this(pass, adapters, rows, new AtomicBoolean());
  }

  @Override
  public NDList order(NDList inputs) {
    return rows == null ? inputs : rows.sort(inputs);
  }

  @Override
  public NDList restore(NDList outputs) {
    return rows == null ? outputs : rows.restore(outputs);
  }

  @Override
  public void close() {
    // Once only: a second release would take another's lease.
    if (closed.compareAndSet(false, true)) {
      pass.close();
      adapters.close();
      pass.weights().close();
    }
  }
}
