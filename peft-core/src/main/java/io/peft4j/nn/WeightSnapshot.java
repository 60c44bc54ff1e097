package io.peft4j.nn;

import java.util.ArrayList;
import java.util.List;

/**
 * The weights of a base model at one moment, leased from a {@link WeightStore}. Closing ends one
 * lease.
 */
public final class WeightSnapshot implements AutoCloseable {
  final Weight[] weights;
  final List<Weight> garbage = new ArrayList<>();
  private final WeightStore store;
  // Both guarded by the store.
  int leases;
  boolean retired;

  WeightSnapshot(WeightStore store, Weight[] weights) {
    this.store = store;
    this.weights = weights;
  }

  /**
   * The weight of a parameter.
   *
   * @param index the parameter's index in the layout
   * @return the weight
   */
  public Weight weight(int index) {
    return weights[index];
  }

  void freeIfUnused() {
    if (retired && leases == 0) {
      garbage.forEach(Weight::close);
      garbage.clear();
    }
  }

  @Override
  public void close() {
    store.release(this);
  }
}
