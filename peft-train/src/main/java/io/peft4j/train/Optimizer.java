package io.peft4j.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import java.util.Map;
import java.util.SortedMap;

/**
 * Moves parameters along their gradients and remembers what it needs for that. For the use of one
 * thread. Owns its state; whoever made it closes it. The parameters stay their model's.
 */
public interface Optimizer extends AutoCloseable {
  /**
   * Updates, in place, every parameter that got a gradient since the last {@link #zeroGradients}.
   * The others keep their values and their state.
   *
   * @param learningRate the rate of this step, before the groups' factors
   */
  void step(double learningRate);

  /** Forgets all gradients. */
  void zeroGradients();

  /**
   * The state, for a checkpoint.
   *
   * @param owner owns the copies
   * @return key to float32 copy; parameters that have not been updated yet have no entries
   */
  SortedMap<String, NDArray> state(NDManager owner);

  /**
   * Replaces the state.
   *
   * @param state as {@link #state} gives it; copied
   * @throws io.peft4j.AdapterStateException if keys or shapes do not fit the parameters; nothing is
   *     changed then
   */
  void loadState(Map<String, NDArray> state);

  @Override
  void close();
}
