package io.peft4j.target;

import io.peft4j.target.MatchProblem.Kind;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.SortedSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** Puts into words what of a configuration does not fit a model. */
final class Diagnosis {
  /** PEFT adds these by itself for tasks with a head, whatever the head is called. */
  private static final Set<String> AUTOMATIC = Set.of("classifier", "score", "qa_outputs");

  // To look for the nearest names takes time; nobody reads more of them.
  private static final int SUGGESTED = 10;
  private static final int EXAMPLES = 3;
  private static final Pattern NAME = Pattern.compile("[\\w.-]+");

  private final Matching run;
  private final ModelLayout layout;
  private final TargetSelection selection;
  private final List<MatchProblem> problems = new ArrayList<>();
  private int suggested;

  Diagnosis(Matching run) {
    this.run = run;
    layout = run.layout;
    selection = run.selection;
  }

  List<MatchProblem> problems() {
    boolean layersFit = layers();
    targets(layersFit);
    unsupported();
    nothingLeft();
    excludes();
    saves();
    conflicts();
    if (!run.adapted.isEmpty() || !run.excluded.isEmpty()) {
      selection.patterns().forEach(this::patternKeys);
    }
    return problems;
  }

  private boolean layers() {
    int before = problems.size();
    for (String name : selection.layersPattern()) {
      if (run.filter.isIdle(name, run.paths)) {
        Set<String> numbered = Wording.numbered(run.paths);
        add(
            Kind.UNMATCHED,
            "layers_pattern",
            name,
            "layers_pattern '"
                + name
                + "' matches no numbered layers of "
                + Wording.model(layout)
                + (numbered.isEmpty()
                    ? ", which has none."
                    : ". Its layers are numbered under: " + String.join(", ", numbered) + "."));
      }
    }
    if (problems.size() > before || !run.filter.isActive()) {
      return problems.size() == before;
    }
    SortedSet<Integer> there = run.filter.indexes(run.paths);
    if (there.isEmpty()) {
      String indexes = selection.layersToTransform().toString();
      add(Kind.UNMATCHED, "layers_to_transform", indexes, noLayers(indexes));
      return false;
    }
    for (int index : selection.layersToTransform()) {
      if (!there.contains(index)) {
        add(
            Kind.UNMATCHED,
            "layers_to_transform",
            String.valueOf(index),
            "layers_to_transform "
                + index
                + " is out of range: the layers of "
                + Wording.model(layout)
                + " are "
                + Wording.range(there)
                + ".");
      }
    }
    return problems.size() == before;
  }

  private String noLayers(String indexes) {
    String start = "layers_to_transform " + indexes + " finds no layers: ";
    for (String path : run.paths) {
      String[] parts = path.split("\\.", 3);
      if (parts.length == 3 && Wording.isNumber(parts[1])) {
        return start
            + "in "
            + Wording.model(layout)
            + " they are numbered right after the first name of a path, as in "
            + path
            + ", which needs layers_pattern '"
            + parts[0]
            + "'.";
      }
    }
    return start + "no path of " + Wording.model(layout) + " has a number. Leave it out.";
  }

  private void targets(boolean layersFit) {
    if (selection.targets() instanceof Targets.AllLinear) {
      if (run.targets.entries().isEmpty()) {
        add(
            Kind.UNMATCHED,
            "target_modules",
            Targets.ALL_LINEAR,
            "target_modules all-linear matches nothing: "
                + Wording.model(layout)
                + " has no linear layer but, perhaps, its output. Name layers instead.");
      }
      return;
    }
    if (run.targets.entries().isEmpty()) {
      add(
          Kind.NOTHING_LEFT,
          "target_modules",
          "",
          "target_modules is an empty list, so that nothing would be adapted. Give names such as "
              + Nearest.describe("", adaptable()).split(" ", 2)[0]
              + ", a regular expression, or "
              + Targets.ALL_LINEAR
              + ".");
    }
    for (String entry : run.targets.entries()) {
      if (run.matchedTargets.contains(entry)) {
        continue;
      }
      List<String> left = run.filtered.get(entry);
      if (left == null) {
        add(Kind.UNMATCHED, "target_modules", entry, unmatchedTarget(entry));
      } else if (layersFit) {
        add(
            Kind.UNMATCHED,
            "target_modules",
            entry,
            "target_modules entry '"
                + entry
                + "' matches "
                + Wording.some(left)
                + ", but not in the layers of layers_to_transform "
                + selection.layersToTransform()
                + ". Drop one of the two, or name whole paths, which it does not restrict.");
      }
    }
  }

  private String unmatchedTarget(String entry) {
    if (run.targets.isExpression()) {
      return unmatchedExpression("target_modules", entry, adaptable());
    }
    String hint = "";
    if (entry.toLowerCase(Locale.ROOT).equals(Targets.ALL_LINEAR)) {
      hint = " all-linear has a meaning only alone, not in a list.";
    } else if (!NAME.matcher(entry).matches()) {
      hint =
          " In a list an entry is a name, not a regular expression: give an expression alone,"
              + " without a list.";
    }
    return unmatched("target_modules entry", entry, "no layer", adaptable()) + hint;
  }

  private String unmatchedExpression(String field, String expression, Collection<String> among) {
    String start =
        field
            + " expression '"
            + expression
            + "' matches no path of "
            + Wording.model(layout)
            + ". ";
    for (String path : run.paths) {
      if (path.endsWith("." + expression) && NAME.matcher(expression).matches()) {
        return start
            + "An expression must match a whole path, such as "
            + path
            + "; to select by the end of a path give a list: [\""
            + expression
            + "\"].";
      }
    }
    Pattern pattern = PythonRegex.compile(field, expression, expression);
    for (String path : run.paths) {
      if (pattern.matcher(path).find()) {
        return start
            + "It is found inside "
            + path
            + ", but must match a path from its start to its end: put .* where more may stand.";
      }
    }
    return start + "An expression must match a whole path." + nearest(expression, among);
  }

  private void unsupported() {
    String able =
        run.kinds.stream()
            .map(kind -> kind.name().toLowerCase(Locale.ROOT).replace('_', ' '))
            .collect(Collectors.joining(", "));
    run.unsupported.forEach(
        (entry, found) -> {
          String path = found.get(0);
          String message =
              "target_modules "
                  + (run.targets.isExpression() ? "expression '" : "entry '")
                  + entry
                  + "' matches "
                  + Wording.some(found)
                  + ", which cannot be adapted: "
                  + (found.size() > 1 ? "the first is " : "it is ")
                  + (layout.layer(path).isPresent()
                      ? "a layer, but of none of the kinds that can be ("
                          + able
                          + "). Leave it out, or put it into modules_to_save to train it whole."
                      : "a module of several layers. " + nameInside(path));
          add(Kind.UNSUPPORTED, "target_modules", entry, message);
        });
  }

  private String nameInside(String container) {
    Set<String> inside = inside(container);
    if (inside.isEmpty()) {
      return "Leave it out.";
    }
    String names = String.join(", ", inside);
    return run.targets.isExpression()
        ? "End the expression with names of layers, such as " + names + "."
        : "Name the layers inside it, such as " + names + ".";
  }

  private Set<String> inside(String container) {
    Set<String> names = new LinkedHashSet<>();
    for (String path : adaptable()) {
      if (path.startsWith(container + ".") && names.size() < EXAMPLES) {
        names.add(path.substring(path.lastIndexOf('.') + 1));
      }
    }
    return names;
  }

  private void nothingLeft() {
    if (!run.adapted.isEmpty() || !run.unsupported.isEmpty() || run.excluded.isEmpty()) {
      return;
    }
    Map<String, Integer> causes = new LinkedHashMap<>();
    for (Matches.Excluded match : run.excluded) {
      causes.merge(match.field() + " '" + match.exclusion() + "'", 1, Integer::sum);
    }
    List<String> words = new ArrayList<>();
    causes.forEach(
        (cause, count) -> {
          if (words.size() < EXAMPLES) {
            words.add(cause + " (" + count + ")");
          }
        });
    int more = causes.size() - words.size();
    add(
        Kind.NOTHING_LEFT,
        "target_modules",
        String.valueOf(selection.targets().jsonValue()),
        "Nothing is left to adapt: every module that target_modules matches is excluded, by "
            + String.join(", ", words)
            + (more > 0 ? " and " + more + " more" : "")
            + ". Exclude less or target more.");
  }

  private void excludes() {
    EntryRule rule = run.exclude;
    if (rule == null) {
      return;
    }
    for (String entry : rule.entries()) {
      if (!run.matchedExcludes.contains(entry)) {
        String message =
            rule.isExpression()
                ? unmatchedExpression("exclude_modules", entry, run.paths)
                : unmatched("exclude_modules entry", entry, "no module", run.paths);
        add(Kind.UNMATCHED, "exclude_modules", entry, message);
      }
    }
  }

  private void saves() {
    for (String entry : selection.modulesToSave()) {
      if (!run.matchedSaves.contains(entry) && !AUTOMATIC.contains(entry)) {
        add(
            Kind.UNMATCHED,
            "modules_to_save",
            entry,
            unmatched("modules_to_save entry", entry, "no module", run.paths));
      }
    }
  }

  private void conflicts() {
    Set<String> saved = new LinkedHashSet<>(run.saved);
    Set<String> reported = new LinkedHashSet<>();
    run.adapted.forEach(
        (path, entry) -> {
          String around = saved.contains(path) ? path : Matching.ancestorIn(path, saved);
          if (around == null) {
            return;
          }
          String name =
              selection.modulesToSave().stream().filter(around::endsWith).findFirst().orElse("");
          if (reported.add(name)) {
            add(Kind.CONFLICT, "modules_to_save", name, conflict(name, around, path));
          }
        });
  }

  private static String conflict(String name, String around, String path) {
    return "modules_to_save entry '"
        + name
        + "' trains "
        + around
        + " whole, but target_modules adapts "
        + (around.equals(path) ? "it" : path + " inside it")
        + ". modules_to_save goes by the mere end of a path: write more of the path there, or"
        + " exclude the layer.";
  }

  private void patternKeys(PatternTable<?> table) {
    Set<String> targeted = new LinkedHashSet<>(run.adapted.keySet());
    run.excluded.forEach(match -> targeted.add(match.path()));
    for (String key : table.entries().keySet()) {
      if (targeted.stream().anyMatch(path -> table.matches(key, path))) {
        continue;
      }
      String start =
          table.field()
              + " key '"
              + key
              + "' matches no adapted layer of "
              + Wording.model(layout)
              + ".";
      String message =
          run.paths.stream()
              .filter(path -> table.matches(key, path))
              .findFirst()
              .map(
                  path ->
                      start
                          + " It matches "
                          + path
                          + ", which target_modules leaves alone: target it too, or drop the key.")
              .orElseGet(() -> start + nearest(key, run.adapted.keySet()));
      add(Kind.UNMATCHED, table.field(), key, message);
    }
  }

  private String unmatched(String what, String entry, String none, Collection<String> among) {
    return Wording.unmatched(what, entry, none, layout) + nearest(entry, among);
  }

  private String nearest(String wanted, Collection<String> among) {
    return suggested++ < SUGGESTED ? Wording.nearest(wanted, among) : "";
  }

  private List<String> adaptable() {
    return layout.layers().stream()
        .filter(layer -> run.kinds.contains(layer.kind()))
        .map(LayerSpec::path)
        .collect(Collectors.toList());
  }

  private void add(Kind kind, String field, String entry, String message) {
    problems.add(new MatchProblem(kind, field, entry, message));
  }
}
