package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import java.util.List;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * One forward pass, or several over the same lease: the weights and the adapters that act. Rows
 * that share their adapters lie side by side and form a segment. Whoever makes a pass closes it
 * before the lease.
 */
public final class Pass implements AutoCloseable {
  private final WeightSnapshot weights;
  private final List<Segment> segments;
  private final boolean dropout;
  private final Derived derived = new Derived();

  /**
   * A pass.
   *
   * @param weights the leased weights; the lease stays the caller's
   * @param segments what acts on which rows, in row order, covering all rows; at least one
   * @param dropout whether dropout acts
   */
  public Pass(WeightSnapshot weights, List<Segment> segments, boolean dropout) {
    this.weights = weights;
    this.segments = List.copyOf(segments);
    this.dropout = dropout;
  }

  /**
   * A pass of the base alone, without dropout.
   *
   * @param weights the leased weights; the lease stays the caller's
   * @return the pass
   */
  public static Pass base(WeightSnapshot weights) {
    return new Pass(weights, List.of(Segment.ALL_BASE), false);
  }

  /**
   * The leased weights.
   *
   * @return the snapshot
   */
  public WeightSnapshot weights() {
    return weights;
  }

  /**
   * What acts on which rows.
   *
   * @return at least one segment; a single one covers all rows whatever its bounds
   */
  public List<Segment> segments() {
    return segments;
  }

  /**
   * Tells whether dropout acts.
   *
   * @return true if so
   */
  public boolean dropout() {
    return dropout;
  }

  /**
   * Something worked out once from the weights and adapters of this pass, which do not change while
   * it lasts.
   *
   * @param key what it is worked out for
   * @param type its class
   * @param maker works it out; what it gives is closed with this pass if it can be
   * @param <T> its class
   * @return what the maker gave at the first call with that key
   */
  public <T> T derive(Object key, Class<T> type, Supplier<T> maker) {
    return derived.get(key, type, maker);
  }

  /** Frees what was worked out for this pass. */
  @Override
  public void close() {
    derived.close();
  }

  /**
   * Rows that share their adapters.
   *
   * @param begin first row
   * @param end row after the last
   * @param adapters the adapters that act, in order
   * @param strengths a factor for each
   */
  public record Segment(long begin, long end, List<? extends Acting> adapters, float[] strengths) {
    /** All rows, without adapters. */
    public static final Segment ALL_BASE = new Segment(0, Long.MAX_VALUE, List.of(), new float[0]);

    /**
     * The copy of a parameter that the acting adapters bring.
     *
     * @param index the parameter's index, or -1 for none
     * @return the copy, or null if the base's own is used
     */
    public @Nullable NDArray override(int index) {
      if (index < 0) {
        return null;
      }
      for (int i = 0; i < adapters.size(); i++) {
        NDArray override = adapters.get(i).override(index);
        if (override != null) {
          return override;
        }
      }
      return null;
    }

    boolean joins(String path) {
      for (int i = 0; i < adapters.size(); i++) {
        if (adapters.get(i).join(path) != null) {
          return true;
        }
      }
      return false;
    }

    boolean acts(int slot) {
      for (int i = 0; i < adapters.size(); i++) {
        if (adapters.get(i).layer(slot) != null) {
          return true;
        }
      }
      return false;
    }
  }
}
