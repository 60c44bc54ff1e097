package io.peft4j.models;

import ai.djl.ndarray.NDList;
import io.peft4j.nn.Pass;
import io.peft4j.nn.PassLease;
import io.peft4j.nn.WeightStore;
import java.util.concurrent.atomic.AtomicBoolean;

/** A pass of the base alone: rows stay where they are. */
record BasePass(Pass pass, AtomicBoolean closed) implements PassLease {

  static BasePass over(WeightStore weights) {
    return new BasePass(Pass.base(weights.lease()), new AtomicBoolean());
  }

  @Override
  public NDList order(NDList inputs) {
    return inputs;
  }

  @Override
  public NDList restore(NDList outputs) {
    return outputs;
  }

  @Override
  public void close() {
    // Once only: a second release would take another's lease.
    if (closed.compareAndSet(false, true)) {
      pass.close();
      pass.weights().close();
    }
  }
}
