package io.peft4j;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * What merging did with each adapter, and with each part of those that are made of parts.
 *
 * @param folded what is in the weights now, as requests name it
 * @param live what is not, and goes on acting as before: name to the reason
 */
public record MergeReport(List<String> folded, Map<String, String> live) {
  /** Nothing was to be merged. */
  static final MergeReport NOTHING = new MergeReport(List.of(), Map.of());

  /** Copies. */
  public MergeReport {
    folded = List.copyOf(folded);
    live = Collections.unmodifiableMap(new LinkedHashMap<>(live));
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
