package io.peft4j.target;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Finds the existing names that a name which matches nothing was perhaps meant to be. */
public final class Nearest {
  private static final int COUNT = 3;

  private Nearest() {}

  private record Candidate(String name, String path, int folded, int exact, int whole) {}

  /**
   * Describes the nearest names.
   *
   * @param wanted a name or path that does not exist
   * @param paths existing paths
   * @return at most three names, each with the first path that has it; empty if there are no paths
   */
  public static String describe(String wanted, Collection<String> paths) {
    String plain = plain(wanted);
    int parts = parts(plain);
    Map<String, String> ends = new LinkedHashMap<>();
    for (String path : paths) {
      ends.putIfAbsent(end(path, parts), path);
    }
    List<Candidate> candidates = new ArrayList<>();
    ends.forEach(
        (name, path) ->
            candidates.add(
                new Candidate(
                    name,
                    path,
                    distance(plain.toLowerCase(Locale.ROOT), name.toLowerCase(Locale.ROOT), parts),
                    distance(plain, name, parts),
                    edits(plain, name))));
    candidates.sort(
        Comparator.comparingInt(Candidate::folded)
            .thenComparingInt(Candidate::exact)
            .thenComparingInt(Candidate::whole));
    List<String> words = new ArrayList<>();
    for (Candidate candidate : candidates.subList(0, Math.min(COUNT, candidates.size()))) {
      String name = candidate.name();
      words.add(name.equals(candidate.path()) ? name : name + " (as in " + candidate.path() + ")");
    }
    return String.join(", ", words);
  }

  /** What is left of a regular expression that can be compared with names. */
  private static String plain(String wanted) {
    String plain = wanted.replaceAll("\\\\\\.", ".").replaceAll("\\\\.|[\\^$*+?]", "");
    int bracket =
        Math.max(plain.lastIndexOf('('), Math.max(plain.lastIndexOf('['), plain.lastIndexOf('|')));
    plain = plain.substring(bracket + 1).replaceAll("[)\\]{}].*$", "");
    plain = plain.replaceAll("^\\.+|\\.+$", "");
    return plain.isEmpty() ? wanted : plain;
  }

  private static int parts(String name) {
    return (int) name.chars().filter(c -> c == '.').count() + 1;
  }

  private static String end(String path, int parts) {
    int start = path.length();
    for (int i = 0; i < parts && start >= 0; i++) {
      start = path.lastIndexOf('.', start - 1);
    }
    return path.substring(start + 1);
  }

  // A right last name in the wrong place is nearer than the letters of the place say.
  private static int distance(String wanted, String name, int parts) {
    int whole = edits(wanted, name);
    return parts == 1 ? whole : Math.min(whole, edits(end(wanted, 1), end(name, 1)) + parts);
  }

  /** Edit distance with swaps of neighbours (optimal string alignment). */
  static int edits(String left, String right) {
    int[][] cost = new int[left.length() + 1][right.length() + 1];
    for (int i = 0; i <= left.length(); i++) {
      for (int j = 0; j <= right.length(); j++) {
        if (i == 0 || j == 0) {
          cost[i][j] = i + j;
          continue;
        }
        int same = left.charAt(i - 1) == right.charAt(j - 1) ? 0 : 1;
        int best =
            Math.min(cost[i - 1][j - 1] + same, Math.min(cost[i - 1][j], cost[i][j - 1]) + 1);
        if (i > 1
            && j > 1
            && left.charAt(i - 1) == right.charAt(j - 2)
            && left.charAt(i - 2) == right.charAt(j - 1)) {
          best = Math.min(best, cost[i - 2][j - 2] + 1);
        }
        cost[i][j] = best;
      }
    }
    return cost[left.length()][right.length()];
  }
}
