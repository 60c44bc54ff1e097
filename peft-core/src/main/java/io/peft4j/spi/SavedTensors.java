package io.peft4j.spi;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterStateException;
import io.peft4j.target.ModelLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * The tensors of a saved adapter, each taken when its place is found. What is missing, misshapen or
 * left over is collected and told at once. For the use of one thread.
 */
public final class SavedTensors {
  private static final int SHOWN = 6;

  private final AttachContext context;
  private final String prefix;
  private final Map<String, NDArray> left = new TreeMap<>();
  private final List<String> problems = new ArrayList<>();

  /**
   * The tensors of a context.
   *
   * @param context has saved tensors
   * @param prefix what state keys begin with; left away from the keys here. A key that begins
   *     otherwise has to be taken whole
   */
  public SavedTensors(AttachContext context, String prefix) {
    this.context = context;
    this.prefix = prefix;
    context
        .saved()
        .orElseThrow()
        .forEach(
            (key, array) ->
                left.put(key.startsWith(prefix) ? key.substring(prefix.length()) : key, array));
  }

  /**
   * The keys that are left.
   *
   * @return a copy
   */
  public List<String> keys() {
    return List.copyOf(new TreeSet<>(left.keySet()));
  }

  /**
   * Looks at a tensor without taking it.
   *
   * @param key the key without its prefix
   * @return the tensor, or null if there is none left of that key
   */
  public @Nullable NDArray peek(String key) {
    return left.get(key);
  }

  /**
   * Takes a tensor if it is there.
   *
   * @param key the key without its prefix
   * @param shape the shape it must have; another one is a problem
   * @return a float32 copy of the adapter's own; null if there is none that fits
   */
  public @Nullable NDArray take(String key, Shape shape) {
    NDArray array = left.remove(key);
    if (array != null && !array.getShape().equals(shape)) {
      problems.add(
          named(key) + " has shape " + array.getShape() + " where " + shape + " is needed");
      return null;
    }
    return array == null ? null : own(array);
  }

  /**
   * Takes a tensor that must be there.
   *
   * @param key the key without its prefix
   * @param shape the shape it must have
   * @return a float32 copy of the adapter's own; null, and a problem noted, if there is none
   */
  public @Nullable NDArray require(String key, Shape shape) {
    if (!left.containsKey(key)) {
      problems.add("missing " + named(key));
    }
    return take(key, shape);
  }

  /**
   * A key as users know it, for messages: with the namespace of the part, where the adapter is a
   * part of another.
   *
   * @param key the key without its prefix
   * @return the key to show
   */
  public String named(String key) {
    return context.keyPrefix() + key;
  }

  /**
   * Drops a tensor.
   *
   * @param key the key without its prefix
   */
  public void drop(String key) {
    left.remove(key);
  }

  /**
   * Notes a problem.
   *
   * @param problem half a sentence that names the key as {@link #named} gives it
   */
  public void problem(String problem) {
    problems.add(problem);
  }

  /**
   * A float32 copy that belongs to the adapter.
   *
   * @param values any values
   * @return the copy
   */
  public NDArray own(NDArray values) {
    return context.own(values);
  }

  /**
   * Ends the taking.
   *
   * @throws AdapterStateException if there were problems, or something is left
   */
  public void finish() {
    for (String key : left.keySet()) {
      boolean whole = context.saved().orElseThrow().containsKey(prefix + key);
      problems.add("no place for " + named(key) + (whole ? "" : ", which lacks " + prefix));
    }
    if (problems.isEmpty()) {
      return;
    }
    ModelLayout layout = context.layout();
    int shown = Math.min(SHOWN, problems.size());
    throw new AdapterStateException(
        "the adapter does not fit this "
            + layout.modelType()
            + " model: "
            + String.join("; ", problems.subList(0, shown))
            + (problems.size() > shown ? "; and " + (problems.size() - shown) + " more" : ""));
  }
}
