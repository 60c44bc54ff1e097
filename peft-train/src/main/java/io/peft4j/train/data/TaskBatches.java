package io.peft4j.train.data;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDArrays;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterSet;
import io.peft4j.InvalidConfigException;
import io.peft4j.train.Batch;
import io.peft4j.train.BatchSource;
import io.peft4j.train.Losses;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.OptionalInt;

/**
 * Batches of several tasks as one: the next batch of each task, one below the other, every row with
 * the adapter of its task. An epoch ends when all tasks' have ended; a task that ends before is
 * missing from the rest.
 *
 * <p>The batches of all tasks must have the same arrays in the same order. Shorter second
 * dimensions are filled up on the right: inputs with 0, which the mask hides, labels with {@link
 * Losses#IGNORED}.
 */
public final class TaskBatches implements BatchSource {
  private final Map<String, BatchSource> tasks;

  private TaskBatches(Map<String, BatchSource> tasks) {
    this.tasks = Collections.unmodifiableMap(new LinkedHashMap<>(tasks));
  }

  /**
   * Mixes tasks.
   *
   * @param tasks the adapter of each task and its data, at least one; rows are in this map's order
   * @return the mixed batches
   * @throws InvalidConfigException if there is no task or a name cannot be that of an adapter
   */
  public static TaskBatches of(Map<String, ? extends BatchSource> tasks) {
    AdapterSet.rows(List.copyOf(tasks.keySet()));
    return new TaskBatches(new LinkedHashMap<>(tasks));
  }

  @Override
  public Iterator<Batch> epoch(int epoch) {
    return epoch(epoch, 0);
  }

  @Override
  public Iterator<Batch> epoch(int epoch, int skip) {
    Map<String, Iterator<Batch>> iterators = new LinkedHashMap<>();
    tasks.forEach(
        (adapter, source) -> {
          OptionalInt count = source.batchesPerEpoch();
          boolean over = count.isPresent() && count.getAsInt() <= skip;
          iterators.put(adapter, over ? Collections.emptyIterator() : source.epoch(epoch, skip));
        });
    return new Mixed(iterators);
  }

  @Override
  public String description() {
    List<String> each = new ArrayList<>();
    tasks.forEach((adapter, source) -> each.add(adapter + ": " + source.description()));
    return "tasks " + String.join("; ", each);
  }

  @Override
  public OptionalInt batchesPerEpoch() {
    int most = 0;
    for (BatchSource source : tasks.values()) {
      OptionalInt count = source.batchesPerEpoch();
      if (count.isEmpty()) {
        return count;
      }
      most = Math.max(most, count.getAsInt());
    }
    return OptionalInt.of(most);
  }

  /** The tasks' batches side by side; closes those of their iterators that hold something open. */
  private record Mixed(Map<String, Iterator<Batch>> tasks)
      implements Iterator<Batch>, AutoCloseable {
    @Override
    public boolean hasNext() {
      return tasks.values().stream().anyMatch(Iterator::hasNext);
    }

    @Override
    public Batch next() {
      if (!hasNext()) {
        throw new NoSuchElementException();
      }
      List<String> adapters = new ArrayList<>();
      List<Batch> batches = new ArrayList<>();
      try {
        tasks.forEach(
            (adapter, iterator) -> {
              if (iterator.hasNext()) {
                Batch batch = iterator.next();
                batches.add(batch);
                adapters.addAll(Collections.nCopies((int) batch.rows(), adapter));
              }
            });
        return join(batches).withAdapters(adapters);
      } finally {
        batches.forEach(Batch::close);
      }
    }

    @Override
    public void close() throws Exception {
      for (Iterator<Batch> iterator : tasks.values()) {
        if (iterator instanceof AutoCloseable open) {
          open.close();
        }
      }
    }
  }

  private static Batch join(List<Batch> batches) {
    NDManager manager =
        NDManager.newBaseManager(batches.get(0).inputs().head().getDevice(), "PyTorch");
    try (NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      NDList inputs = join(manager, batches.stream().map(Batch::inputs).toList(), 0);
      NDList labels = join(manager, batches.stream().map(Batch::labels).toList(), Losses.IGNORED);
      List<String> origins = batches.stream().map(Batch::origin).filter(o -> !o.isEmpty()).toList();
      long tokens = batches.stream().mapToLong(Batch::tokens).sum();
      return new Batch(manager, inputs, labels, tokens, String.join("; ", origins));
    } catch (RuntimeException e) {
      manager.close();
      throw e;
    }
  }

  private static NDList join(NDManager manager, List<NDList> lists, long filling) {
    NDList joined = new NDList();
    for (int i = 0; i < lists.get(0).size(); i++) {
      List<NDArray> arrays = new ArrayList<>();
      long longest = 0;
      for (NDList list : lists) {
        if (list.size() != lists.get(0).size()
            || list.get(i).getShape().dimension() != lists.get(0).get(i).getShape().dimension()
            || list.get(i).getDataType() != lists.get(0).get(i).getDataType()) {
          throw new InvalidConfigException(
              "tasks of one batch must have arrays alike, these have "
                  + list
                  + " beside "
                  + lists.get(0));
        }
        arrays.add(list.get(i));
        Shape shape = list.get(i).getShape();
        longest = Math.max(longest, shape.dimension() < 2 ? 0 : shape.get(1));
      }
      NDList parts = new NDList();
      for (NDArray array : arrays) {
        parts.add(filled(array, longest, filling));
      }
      NDArray all = NDArrays.concat(parts).duplicate();
      all.attach(manager);
      NDScope.unregister(all);
      all.setName(arrays.get(0).getName());
      joined.add(all);
    }
    return joined;
  }

  private static NDArray filled(NDArray array, long length, long filling) {
    Shape shape = array.getShape();
    if (shape.dimension() < 2 || shape.get(1) == length) {
      return array;
    }
    long[] rest = shape.getShape().clone();
    rest[1] = length - rest[1];
    NDArray more = array.getManager().full(new Shape(rest), filling, array.getDataType());
    return NDArrays.concat(new NDList(array, more), 1);
  }
}
