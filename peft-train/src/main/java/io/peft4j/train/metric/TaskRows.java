package io.peft4j.train.metric;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import io.peft4j.torch.Ops;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * The rows of a batch that one adapter has.
 *
 * @param rows their numbers, ascending; all of the batch's if there is only this adapter
 */
public record TaskRows(List<Integer> rows) {

  /** Copies the list. */
  public TaskRows {
    rows = List.copyOf(rows);
  }

  /**
   * Divides rows by their adapters.
   *
   * @param adapters the adapter of each row
   * @return adapter to rows, in the order in which adapters first come
   */
  public static Map<String, TaskRows> of(List<String> adapters) {
    Map<String, TaskRows> tasks = new LinkedHashMap<>();
    for (String adapter : adapters) {
      tasks.computeIfAbsent(
          adapter,
          name ->
              new TaskRows(
                  IntStream.range(0, adapters.size())
                      .filter(row -> adapters.get(row).equals(name))
                      .boxed()
                      .toList()));
    }
    return tasks;
  }

  /**
   * Takes these rows out of arrays.
   *
   * @param arrays arrays whose first dimension is the batch
   * @return new arrays, registered with the caller's {@link ai.djl.ndarray.NDScope}
   */
  public NDList select(NDList arrays) {
    NDList selected = new NDList(arrays.size());
    for (NDArray array : arrays) {
      NDManager manager = array.getManager();
      long[] index = rows.stream().mapToLong(Integer::longValue).toArray();
      try (NDArray rowIndex = Ops.engineOwned(manager.create(index))) {
        NDArray part = array.get(rowIndex);
        part.setName(array.getName());
        selected.add(part);
      }
    }
    return selected;
  }
}
