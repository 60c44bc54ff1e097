package io.peft4j;

import ai.djl.ndarray.NDList;
import io.peft4j.nn.Pass;
import io.peft4j.nn.PassLease;
import io.peft4j.spi.Adapter;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;

/**
 * What one pass holds until it ends: weights and adapters that stay as they are, and the order of
 * its rows.
 */
record AdaptedPass(Pass pass, List<Adapter> adapters, @Nullable RowOrder rows, AtomicBoolean closed)
    implements PassLease {

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
      adapters.forEach(Adapter::release);
      pass.weights().close();
    }
  }
}
