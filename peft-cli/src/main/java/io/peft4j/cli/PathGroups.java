package io.peft4j.cli;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.regex.Pattern;

/**
 * Writes many paths as few: {@code layers.0.q_proj}, {@code layers.1.q_proj} and so on become
 * {@code layers.{0..31}.q_proj}. Paths are put together only if they say the same otherwise.
 */
public final class PathGroups {
  private static final Pattern NUMBER = Pattern.compile("0|[1-9]\\d{0,8}");

  private final Map<Key, Group> groups = new LinkedHashMap<>();

  /** Starts without paths. */
  public PathGroups() {}

  /**
   * Several paths that differ in numbers alone.
   *
   * @param paths the paths as one
   * @param count how many they are
   * @param cells what is said about them
   */
  public record Row(String paths, int count, List<String> cells) {}

  private record Key(List<String> parts, List<String> cells) {}

  private static final class Group {
    private final List<SortedSet<Integer>> numbers = new ArrayList<>();
    private final List<String> paths = new ArrayList<>();
  }

  /**
   * Adds a path.
   *
   * @param path dotted path
   * @param cells what is said about it
   */
  public void add(String path, List<String> cells) {
    List<String> parts = new ArrayList<>();
    List<Integer> numbers = new ArrayList<>();
    for (String part : path.split("\\.", -1)) {
      boolean number = NUMBER.matcher(part).matches();
      parts.add(number ? "#" : part);
      if (number) {
        numbers.add(Integer.parseInt(part));
      }
    }
    Group group = groups.computeIfAbsent(new Key(parts, cells), key -> new Group());
    group.paths.add(path);
    for (int i = 0; i < numbers.size(); i++) {
      if (group.numbers.size() <= i) {
        group.numbers.add(new TreeSet<>());
      }
      group.numbers.get(i).add(numbers.get(i));
    }
  }

  /**
   * The paths, those that can be put together as one.
   *
   * @return the rows in the order in which they were added
   */
  public List<Row> rows() {
    List<Row> rows = new ArrayList<>();
    groups.forEach(
        (key, group) -> {
          long combinations = 1;
          for (SortedSet<Integer> numbers : group.numbers) {
            combinations *= numbers.size();
          }
          if (combinations == group.paths.size()) {
            rows.add(new Row(written(key.parts(), group.numbers), group.paths.size(), key.cells()));
          } else {
            group.paths.forEach(path -> rows.add(new Row(path, 1, key.cells())));
          }
        });
    return Collections.unmodifiableList(rows);
  }

  private static String written(List<String> parts, List<SortedSet<Integer>> numbers) {
    List<String> words = new ArrayList<>();
    int next = 0;
    for (String part : parts) {
      words.add(part.equals("#") ? range(numbers.get(next++)) : part);
    }
    return String.join(".", words);
  }

  private static String range(SortedSet<Integer> numbers) {
    if (numbers.size() == 1) {
      return String.valueOf(numbers.first());
    }
    List<String> runs = new ArrayList<>();
    int first = numbers.first();
    int last = first;
    for (int number : numbers) {
      if (number > last + 1) {
        runs.add(run(first, last));
        first = number;
      }
      last = number;
    }
    runs.add(run(first, last));
    return "{" + String.join(",", runs) + "}";
  }

  private static String run(int first, int last) {
    return first == last ? String.valueOf(first) : first + (last == first + 1 ? "," : "..") + last;
  }
}
