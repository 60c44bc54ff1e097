package io.peft4j.target;

import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.SortedSet;
import java.util.stream.Collectors;

/** Parts of sentences about models and paths. */
final class Wording {
  private Wording() {}

  static String unmatched(String what, String entry, String none, ModelLayout layout) {
    return what + " '" + entry + "' matches " + none + " of " + model(layout) + ".";
  }

  /** A sentence, after a space, that names the nearest of some paths; empty if there are none. */
  static String nearest(String wanted, Collection<String> among) {
    String nearest = Nearest.describe(wanted, among);
    return nearest.isEmpty() ? "" : " Nearest: " + nearest + ".";
  }

  static String model(ModelLayout layout) {
    String type = layout.modelType();
    return type.isEmpty() || type.equals("djl") ? "this model" : "this " + type + " model";
  }

  static String some(List<String> paths) {
    return paths.get(0) + (paths.size() > 1 ? " and " + (paths.size() - 1) + " more" : "");
  }

  static String range(SortedSet<Integer> numbers) {
    int first = numbers.first();
    int last = numbers.last();
    return numbers.size() > 2 && last - first == numbers.size() - 1
        ? first + " to " + last
        : numbers.stream().map(String::valueOf).collect(Collectors.joining(", "));
  }

  /** The names under which layers are numbered. */
  static Set<String> numbered(Set<String> paths) {
    Set<String> names = new LinkedHashSet<>();
    for (String path : paths) {
      String[] parts = path.split("\\.", -1);
      for (int i = 1; i < parts.length; i++) {
        if (isNumber(parts[i])) {
          names.add(parts[i - 1]);
        }
      }
    }
    return names;
  }

  static boolean isNumber(String part) {
    return !part.isEmpty() && part.chars().allMatch(Character::isDigit);
  }
}
