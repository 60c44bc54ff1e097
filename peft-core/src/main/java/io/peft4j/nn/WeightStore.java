package io.peft4j.nn;

import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterStateException;
import io.peft4j.MalformedFileException;
import io.peft4j.target.ModelLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * The weights of one base model. Passes lease a snapshot and keep computing with it while others
 * install new weights; what was replaced for good is freed when the last lease on it ends.
 *
 * <p>The model that made the store closes it; memory goes when the last lease has ended too. All
 * methods may be called from any thread.
 */
public final class WeightStore implements AutoCloseable {
  private final ModelLayout layout;
  private WeightSnapshot current;
  private @Nullable Replacement undecided;
  private int wrappers;
  private boolean closed;

  private WeightStore(ModelLayout layout, Weight[] weights) {
    this.layout = layout;
    current = new WeightSnapshot(this, weights);
  }

  /**
   * Makes a store of weights that fit a layout exactly.
   *
   * @param layout names and shapes
   * @param weights parameter name to weight; tied names may be left out and then share the weight
   *     they are tied to. The store closes them from now on
   * @return the store
   * @throws MalformedFileException naming all missing, surplus and misshapen weights; the weights
   *     are closed then
   */
  public static WeightStore of(ModelLayout layout, Map<String, Weight> weights) {
    List<String> problems = new ArrayList<>();
    Weight[] all = new Weight[layout.parameterNames().size()];
    layout
        .parameters()
        .forEach(
            (name, shape) -> {
              Weight weight = weights.get(name);
              if (weight == null) {
                problems.add("missing " + name + " " + shape);
              } else {
                check(name, shape, weight, problems);
                all[layout.parameterIndex(name)] = weight;
              }
            });
    layout
        .tied()
        .forEach(
            (alias, name) -> {
              Weight shared = all[layout.parameterIndex(name)];
              Weight own = weights.getOrDefault(alias, shared);
              Shape shape = layout.parameters().get(name);
              if (own != null && shape != null) {
                check(alias, shape, own, problems);
                all[layout.parameterIndex(alias)] = own;
              }
            });
    for (String name : new TreeSet<>(weights.keySet())) {
      if (layout.parameterIndex(name) < 0) {
        problems.add("surplus " + name);
      }
    }
    if (!problems.isEmpty()) {
      weights.values().forEach(Weight::close);
      int shown = Math.min(problems.size(), 8);
      throw new MalformedFileException(
          "the weights do not fit a "
              + layout.modelType()
              + " model: "
              + String.join("; ", problems.subList(0, shown))
              + (problems.size() > shown ? "; and " + (problems.size() - shown) + " more" : ""));
    }
    return new WeightStore(layout, all);
  }

  private static void check(String name, Shape shape, Weight weight, List<String> problems) {
    if (!weight.shape().equals(shape)) {
      problems.add(name + " has shape " + weight.shape() + " where " + shape + " is needed");
    }
  }

  /**
   * The names and shapes of these weights.
   *
   * @return the layout
   */
  public ModelLayout layout() {
    return layout;
  }

  /**
   * Leases the weights as they are now.
   *
   * @return the snapshot; close it to end the lease
   * @throws AdapterStateException if the base model has been closed
   */
  public synchronized WeightSnapshot lease() {
    if (closed) {
      throw new AdapterStateException("the base model has been closed");
    }
    current.leases++;
    return current;
  }

  /**
   * Counts one more model open over this base.
   *
   * @throws AdapterStateException if the base model has been closed, or another model's adapters
   *     are merged into it now
   */
  public synchronized void enter() {
    if (undecided != null) {
      throw new AdapterStateException(
          "the adapters of another model are merged into this base: unmerge them, or close that"
              + " model, before opening one more");
    }
    lease();
    wrappers++;
  }

  /** Counts one model less. Called once for each {@link #enter()}. */
  public synchronized void leave() {
    wrappers--;
    release(current);
  }

  /**
   * The number of models that are open over this base.
   *
   * @return the count
   */
  public synchronized int wrappers() {
    return wrappers;
  }

  /**
   * Puts weights in the place of others for passes that begin from now on. The replaced ones are
   * kept until {@link Replacement#keep()} or {@link Replacement#undo()} decides. One replacement at
   * a time.
   *
   * @param weights parameter index to new weight; the store closes them from now on
   * @return what decides about the replacement
   * @throws AdapterStateException if the base model has been closed, or an earlier replacement is
   *     undecided; the weights stay the caller's then
   */
  public synchronized Replacement replace(Map<Integer, Weight> weights) {
    if (closed || undecided != null) {
      throw new AdapterStateException(
          closed ? "the base model has been closed" : "the weights have been replaced already");
    }
    Weight[] next = current.weights.clone();
    weights.forEach((index, weight) -> next[index] = weight);
    WeightSnapshot before = current;
    current = new WeightSnapshot(this, next);
    // Wrappers hold a lease each; they move along with the current snapshot.
    current.leases = wrappers;
    before.leases -= wrappers;
    before.leases++;
    undecided = new Replacement(before, current, weights);
    return undecided;
  }

  synchronized void release(WeightSnapshot snapshot) {
    snapshot.leases--;
    snapshot.freeIfUnused();
  }

  @Override
  public synchronized void close() {
    if (!closed) {
      closed = true;
      retireIfClosed();
    }
  }

  /** With an undecided replacement this waits for the decision. */
  private void retireIfClosed() {
    if (closed && undecided == null) {
      current.retire(distinct(Arrays.asList(current.weights)), null);
    }
  }

  private static Set<Weight> distinct(Collection<Weight> weights) {
    Set<Weight> distinct = Collections.newSetFromMap(new IdentityHashMap<>());
    distinct.addAll(weights);
    return distinct;
  }

  /** Decides whether replaced weights come back or go. */
  public final class Replacement {
    private final WeightSnapshot before;
    private final WeightSnapshot after;
    private final Map<Integer, Weight> weights;
    private boolean decided;

    private Replacement(WeightSnapshot before, WeightSnapshot after, Map<Integer, Weight> weights) {
      this.before = before;
      this.after = after;
      this.weights = weights;
    }

    /**
     * Leases the weights as they were before.
     *
     * @return the snapshot; close it to end the lease
     */
    public WeightSnapshot leaseBefore() {
      synchronized (WeightStore.this) {
        if (decided) {
          throw new AdapterStateException("the merge has been undone or made final already");
        }
        before.leases++;
        return before;
      }
    }

    /**
     * How many leases there are on the weights as they were before, this replacement's own not
     * counted: passes that began then, or with {@link #leaseBefore()}.
     *
     * @return the number of leases
     */
    public int leasesBefore() {
      synchronized (WeightStore.this) {
        return decided ? 0 : before.leases - 1;
      }
    }

    /** Puts the weights back that were there before, bit for bit; frees the new ones. */
    public void undo() {
      synchronized (WeightStore.this) {
        if (decided) {
          return;
        }
        decided = true;
        undecided = null;
        current = before;
        before.leases += wrappers - 1;
        after.leases -= wrappers;
        after.retire(distinct(weights.values()), before);
        retireIfClosed();
      }
    }

    /** Makes the new weights final; frees the ones that nothing else uses. */
    public void keep() {
      synchronized (WeightStore.this) {
        if (decided) {
          return;
        }
        decided = true;
        undecided = null;
        Set<Weight> gone = distinct(Arrays.asList(before.weights));
        Arrays.asList(after.weights).forEach(gone::remove);
        before.leases--;
        before.retire(gone, after);
        retireIfClosed();
      }
    }
  }
}
