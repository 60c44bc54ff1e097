package io.peft4j.target;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The restriction of names to layers of some indexes: layers_to_transform and layers_pattern. */
final class LayerFilter {
  // Without a pattern a numbered name counts from the third part of a path on, as in PEFT: the
  // layers of a model that starts with "layers.0" are found only by a pattern.
  private static final String ANY_NAME = ".*?\\.[^.]*\\.(?P<idx>\\d+)\\.";

  private final List<Integer> indexes;
  private final Map<String, Pattern> patterns = new LinkedHashMap<>();

  LayerFilter(TargetSelection selection) {
    indexes = selection.layersToTransform();
    for (String name : selection.layersPattern()) {
      patterns.put(
          name,
          PythonRegex.compile(
              "layers_pattern", name, "(?:^|.*?\\.)" + name + "\\.(?P<idx>\\d+)\\."));
    }
    if (patterns.isEmpty()) {
      patterns.put("", PythonRegex.compile("layers_pattern", "", ANY_NAME));
    }
  }

  boolean isActive() {
    return !indexes.isEmpty();
  }

  boolean selects(String path) {
    return indexes.contains(index(path));
  }

  /** The index of the layer that a path belongs to, or -1. */
  int index(String path) {
    for (Pattern pattern : patterns.values()) {
      Matcher matcher = pattern.matcher(path);
      if (matcher.lookingAt()) {
        // The index is the last group; a pattern such as "a|b" can match without it.
        String index = matcher.group(matcher.groupCount());
        return index == null ? -1 : parse(index);
      }
    }
    return -1;
  }

  /** The indexes that occur in some paths. */
  SortedSet<Integer> indexes(Set<String> paths) {
    SortedSet<Integer> found = new TreeSet<>();
    for (String path : paths) {
      int index = index(path);
      if (index >= 0) {
        found.add(index);
      }
    }
    return found;
  }

  /** Tells whether a name of layers_pattern matches none of some paths. */
  boolean isIdle(String name, Set<String> paths) {
    Pattern pattern = patterns.get(name);
    return pattern != null
        && paths.stream()
            .noneMatch(
                path -> {
                  Matcher matcher = pattern.matcher(path);
                  return matcher.lookingAt() && matcher.group(matcher.groupCount()) != null;
                });
  }

  private static int parse(String digits) {
    try {
      return Integer.parseInt(digits);
    } catch (NumberFormatException e) { // more layers than any model has
      return -1;
    }
  }
}
