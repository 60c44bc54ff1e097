package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import java.util.List;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
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
  private final TrainingOptions training;
  private final Recomputation layers;
  private final Derived derived = new Derived();

  /**
   * A pass.
   *
   * @param weights the leased weights; the lease stays the caller's
   * @param segments what acts on which rows, in row order, covering all rows; at least one
   * @param dropout whether dropout acts
   */
  public Pass(WeightSnapshot weights, List<Segment> segments, boolean dropout) {
    this(weights, segments, dropout, TrainingOptions.PLAIN);
  }

  /**
   * A pass of a training step.
   *
   * @param weights the leased weights; the lease stays the caller's
   * @param segments what acts on which rows, in row order, covering all rows; at least one
   * @param dropout whether dropout acts
   * @param training how the step is computed; where layers are recomputed, {@link #backward} must
   *     follow
   */
  public Pass(
      WeightSnapshot weights, List<Segment> segments, boolean dropout, TrainingOptions training) {
    this.weights = weights;
    this.segments = List.copyOf(segments);
    this.dropout = dropout;
    this.training = training;
    layers = new Recomputation(training.recomputation(), dropout);
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
   * How a training step is computed.
   *
   * @return the options; plain where nothing is trained
   */
  public TrainingOptions training() {
    return training;
  }

  /**
   * Computes one layer of a network. All that it makes but its result is freed, or left to the
   * backward pass; where layers are recomputed, it runs twice.
   *
   * @param x the layer's input
   * @param body computes a new array from the input, and from arrays that live as long as the pass
   * @return the output
   */
  public NDArray layer(NDArray x, UnaryOperator<NDArray> body) {
    return layers.layer(x, body);
  }

  /**
   * Adds noise to embedded tokens where a training step wants it (NEFTune).
   *
   * @param embedded float32 [batch, length, dimension]
   * @return the same shape; the array itself without noise
   */
  public NDArray noisy(NDArray embedded) {
    if (training.embeddingNoise() == 0) {
      return embedded;
    }
    Shape shape = embedded.getShape();
    double bound = training.embeddingNoise() / Math.sqrt((double) shape.get(1) * shape.get(2));
    return embedded.add(
        embedded
            .getManager()
            .randomUniform((float) -bound, (float) bound, shape, DataType.FLOAT32));
  }

  /**
   * Lets layers be recomputed even where the options do not ask for it. To be called before the
   * first of them; {@link #backward} must follow.
   */
  public void recomputeLayers() {
    layers.begin();
  }

  /**
   * Takes gradients through layers that are to be recomputed; does nothing if none are. To be
   * called when a backward pass over what came after them has ended, with the pass's arrays alive.
   */
  public void backward() {
    layers.backward();
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
