package io.peft4j.nn;

import java.util.Collection;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The weights of a base model at one moment, leased from a {@link WeightStore}. Closing ends one
 * lease.
 */
public final class WeightSnapshot implements AutoCloseable {
  final Weight[] weights;
  private final WeightStore store;
  private final Derived derived = new Derived();
  // Guarded by the store.
  int leases;
  private boolean retired;
  private List<Weight> garbage = List.of();
  private @Nullable WeightSnapshot heir;

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

  /**
   * Tells whether any of these weights is packed in few bits, so that a product of many rows makes
   * it dense first.
   *
   * @return true if one is
   */
  public boolean isPacked() {
    for (Weight weight : weights) {
      if (weight.quantization().isPresent()) {
        return true;
      }
    }
    return false;
  }

  /** What has been worked out from these weights; goes with the last lease. */
  Derived derived() {
    return derived;
  }

  /**
   * Gives up weights when the last lease ends. The others are the heir's, which is leased until
   * then.
   */
  void retire(Collection<Weight> own, @Nullable WeightSnapshot next) {
    retired = true;
    garbage = List.copyOf(own);
    heir = next;
    if (next != null) {
      next.leases++;
    }
    freeIfUnused();
  }

  void freeIfUnused() {
    if (retired && leases == 0) {
      derived.close();
      garbage.forEach(Weight::close);
      garbage = List.of();
      WeightSnapshot next = heir;
      heir = null;
      if (next != null) {
        next.leases--;
        next.freeIfUnused();
      }
    }
  }

  @Override
  public void close() {
    store.release(this);
  }
}
