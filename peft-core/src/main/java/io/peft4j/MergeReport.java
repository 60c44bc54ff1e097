package io.peft4j;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * What merging did with each adapter, and with each part of those that are made of parts; and what
 * it has cost where merged weights are stored as the base's are. Errors are Frobenius norms.
 *
 * @param folded what is in the weights now, as requests name it
 * @param live what is not, and goes on acting as before: name to the reason
 * @param weights the weights that were packed again, in model order
 */
public record MergeReport(
    List<String> folded, Map<String, String> live, List<MergedWeight> weights) {
  /** Nothing was to be merged. */
  static final MergeReport NOTHING = new MergeReport(List.of(), Map.of(), List.of());

  /** Copies. */
  public MergeReport {
    folded = List.copyOf(folded);
    live = Collections.unmodifiableMap(new LinkedHashMap<>(live));
    weights = List.copyOf(weights);
  }

  /**
   * A weight that was packed again.
   *
   * @param name the parameter's name
   * @param effect by how much the adapters changed the weight: ‖W' − W‖
   * @param error by how much packing missed what the adapters made of it: ‖packed(W') − W'‖
   */
  public record MergedWeight(String name, double effect, double error) {}

  /**
   * By how much the adapters changed all packed weights together.
   *
   * @return the root of the sum of the squared effects; 0 if there are no weights
   */
  public double effect() {
    return Math.sqrt(weights.stream().mapToDouble(w -> w.effect() * w.effect()).sum());
  }

  /**
   * By how much packing missed what the adapters made of all these weights together.
   *
   * @return the root of the sum of the squared errors; 0 if there are no weights
   */
  public double error() {
    return Math.sqrt(weights.stream().mapToDouble(w -> w.error() * w.error()).sum());
  }

  /**
   * Checks that the weights say everything, for those who want the weights alone.
   *
   * @throws AdapterStateException if something is live
   */
  public void requireAll() {
    if (!live.isEmpty()) {
      throw new AdapterStateException("not all of it can be merged: " + reasons());
    }
  }

  private String reasons() {
    return live.entrySet().stream()
        .map(entry -> "'" + entry.getKey() + "' at " + entry.getValue())
        .collect(Collectors.joining("; "));
  }

  @Override
  public String toString() {
    return "merged: "
        + (folded.isEmpty() ? "nothing" : String.join(", ", folded))
        + (live.isEmpty() ? "" : "; live: " + reasons());
  }
}
