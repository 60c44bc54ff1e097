package io.peft4j.target;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** A list of names or an expression, ready to be asked about many paths. */
final class EntryRule {
  private final Map<String, Integer> names = new LinkedHashMap<>();
  private final @Nullable Pattern pattern;
  private final List<String> entries;

  private EntryRule(List<String> entries, @Nullable Pattern pattern) {
    this.entries = entries;
    this.pattern = pattern;
    if (pattern == null) {
      for (String name : entries) {
        names.put(name, names.size());
      }
    }
  }

  static EntryRule names(List<String> names) {
    return new EntryRule(names, null);
  }

  static EntryRule expression(String field, String expression) {
    return new EntryRule(List.of(expression), PythonRegex.compile(field, expression, expression));
  }

  boolean isExpression() {
    return pattern != null;
  }

  /** The names, or the expression alone. */
  List<String> entries() {
    return entries;
  }

  /** Tells whether a name is the whole path. */
  boolean isExact(String path) {
    return names.containsKey(path);
  }

  /**
   * The entries that match a path. A name can only start at the path's start or after a dot, so
   * that there are few to look up, however long the list.
   *
   * @return the one that is the whole path first, the others in their own order
   */
  List<String> hits(String path) {
    if (pattern != null) {
      return pattern.matcher(path).matches() ? entries : List.of();
    }
    List<String> hits = new ArrayList<>();
    for (int start = 0; start >= 0; start = nextName(path, start)) {
      String end = path.substring(start);
      if (names.containsKey(end)) {
        hits.add(end);
      }
    }
    if (hits.size() > 1) {
      hits.sort(Comparator.comparing((String hit) -> !hit.equals(path)).thenComparing(names::get));
    }
    return hits;
  }

  private static int nextName(String path, int start) {
    int dot = path.indexOf('.', start);
    return dot < 0 ? -1 : dot + 1;
  }
}
