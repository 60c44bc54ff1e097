package io.peft4j.target;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What PEFT makes of a long list of target modules: the shortest ends of paths that still select
 * the same modules and no others. It is what an adapter's file says, and it decides which names are
 * whole paths, which layers_to_transform does not restrict.
 */
final class MinimalSuffixes {
  /** Lists of fewer names are left as they are. */
  static final int FROM = 20;

  private MinimalSuffixes() {}

  /**
   * Shortens a list.
   *
   * @param names names of target modules
   * @param modules paths of all modules
   * @return the ends of paths, or {@code names} if there would not be fewer
   */
  static List<String> shorten(List<String> names, Collection<String> modules) {
    if (names.size() < FROM) {
      return names;
    }
    EntryRule rule = EntryRule.names(names);
    Set<String> others = new HashSet<>();
    for (String module : modules) {
      if (rule.hits(module).isEmpty()) {
        others.addAll(ends(module));
      }
    }
    Map<String, List<String>> endsOf = new LinkedHashMap<>();
    for (String name : names) {
      endsOf.put(name, ends(name));
    }
    List<String> sorted = new ArrayList<>(names);
    sorted.sort(Comparator.comparing(endsOf::get, MinimalSuffixes::compare));
    Set<String> needed = new LinkedHashSet<>();
    for (String name : sorted) {
      List<String> ends = endsOf.getOrDefault(name, List.of());
      for (int i = 0; i < ends.size(); i++) {
        String end = ends.get(i);
        if (needed.contains(end) || others.contains(end)) {
          continue;
        }
        // The name itself does not count: it would have to end with a dot and the needed end.
        if (ends.subList(0, ends.size() - 1).stream().noneMatch(needed::contains)) {
          needed.add(end);
          break;
        }
      }
    }
    return needed.isEmpty() || needed.size() >= names.size() ? names : List.copyOf(needed);
  }

  /** The ends of a path that start at its start or after a dot, shortest first. */
  private static List<String> ends(String path) {
    List<String> ends = new ArrayList<>();
    for (int dot = path.lastIndexOf('.'); dot >= 0; dot = path.lastIndexOf('.', dot - 1)) {
      ends.add(path.substring(dot + 1));
    }
    ends.add(path);
    return ends;
  }

  private static int compare(List<String> left, List<String> right) {
    for (int i = 0; i < Math.min(left.size(), right.size()); i++) {
      int order = left.get(i).compareTo(right.get(i));
      if (order != 0) {
        return order;
      }
    }
    return Integer.compare(left.size(), right.size());
  }
}
