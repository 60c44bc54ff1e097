package io.peft4j.target;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** One run of {@link TargetMatcher}: goes over all modules once and remembers what matched what. */
final class Matching {
  final ModelLayout layout;
  final TargetSelection selection;
  final Set<LayerKind> kinds;
  final Set<String> paths;
  final EntryRule targets;
  final LayerFilter filter;
  final @Nullable EntryRule exclude;

  /** Entries of target_modules that match something, if only an excluded module. */
  final Set<String> matchedTargets = new LinkedHashSet<>();

  /** Entries of exclude_modules that match something, targeted or not. */
  final Set<String> matchedExcludes = new LinkedHashSet<>();

  /** Entries of modules_to_save that match something. */
  final Set<String> matchedSaves = new LinkedHashSet<>();

  /** Entry to the modules that it would match, were it not for layers_to_transform. */
  final Map<String, List<String>> filtered = new LinkedHashMap<>();

  /** Entry to the modules that it matches and that cannot be adapted. */
  final Map<String, List<String>> unsupported = new LinkedHashMap<>();

  final Map<String, String> adapted = new LinkedHashMap<>();
  final List<Matches.Excluded> excluded = new ArrayList<>();
  final List<String> saved = new ArrayList<>();

  private final Targets resolved;
  private final Set<String> wholePaths;
  private final Map<String, Pattern> insideSaved = new LinkedHashMap<>();

  Matching(ModelLayout layout, TargetSelection selection, Set<LayerKind> kinds) {
    this.layout = layout;
    this.selection = selection;
    this.kinds = kinds;
    paths = new LinkedHashSet<>(layout.modules());
    paths.remove("");
    filter = new LayerFilter(selection);
    exclude = selection.exclude().map(value -> rule("exclude_modules", value)).orElse(null);
    Targets given = selection.targets();
    if (given instanceof Targets.Expression) {
      resolved = given;
      wholePaths = Set.of();
      targets = rule("target_modules", given);
    } else {
      List<String> names = names(given);
      List<String> shortened = MinimalSuffixes.shorten(names, paths);
      resolved = Targets.names(shortened);
      wholePaths = new LinkedHashSet<>(shortened);
      targets = EntryRule.names(names);
    }
    for (String name : selection.modulesToSave()) {
      insideSaved.put(
          name,
          PythonRegex.compile("modules_to_save entry", name, "(^|.*\\.)" + name + "($|\\..*)"));
    }
  }

  private static EntryRule rule(String field, Targets value) {
    return value instanceof Targets.Expression expression
        ? EntryRule.expression(field, expression.expression())
        : EntryRule.names(((Targets.Names) value).names());
  }

  private List<String> names(Targets given) {
    if (given instanceof Targets.Names names) {
      return names.names();
    }
    List<String> linear = new ArrayList<>();
    for (LayerSpec layer : layout.layers()) {
      if (layer.kind().isLinear() && !isOutput(layer.path())) {
        linear.add(layer.path());
      }
    }
    return linear;
  }

  // As in PEFT heads are looked for only where no layer gives logits, and by their own path: what
  // is inside a head is left out because the head is among the modules to save.
  private boolean isOutput(String path) {
    return layout.outputLayer().isPresent()
        ? layout.outputLayer().get().equals(path)
        : selection.sequenceClassification() && layout.heads().contains(path);
  }

  Matches run() {
    findSaved();
    for (String path : paths) {
      visit(path);
    }
    List<Matches.Adapted> inOrder = new ArrayList<>();
    for (LayerSpec layer : layout.layers()) {
      String entry = adapted.get(layer.path());
      if (entry != null) {
        inOrder.add(new Matches.Adapted(layer, shown(entry)));
      }
    }
    return new Matches(inOrder, excluded, saved, new Diagnosis(this).problems(), resolved);
  }

  private void visit(String path) {
    List<String> excludes = exclude == null ? List.of() : exclude.hits(path);
    matchedExcludes.addAll(excludes);
    List<String> hits = targets.hits(path);
    if (hits.isEmpty()) {
      return;
    }
    if (!excludes.isEmpty()) {
      exclude(path, hits, "exclude_modules", excludes.get(0));
      return;
    }
    for (Map.Entry<String, Pattern> entry : insideSaved.entrySet()) {
      if (entry.getValue().matcher(path).lookingAt()) {
        exclude(path, hits, "modules_to_save", entry.getKey());
        return;
      }
    }
    if (filter.isActive() && !wholePaths.contains(path) && !filter.selects(path)) {
      hits.forEach(hit -> filtered.computeIfAbsent(hit, key -> new ArrayList<>()).add(path));
      return;
    }
    matchedTargets.addAll(hits);
    if (layout.layer(path).map(layer -> kinds.contains(layer.kind())).orElse(false)) {
      adapted.put(path, hits.get(0));
    } else {
      unsupported.computeIfAbsent(hits.get(0), key -> new ArrayList<>()).add(path);
    }
  }

  private void exclude(String path, List<String> hits, String field, String exclusion) {
    matchedTargets.addAll(hits);
    excluded.add(new Matches.Excluded(path, shown(hits.get(0)), field, exclusion));
  }

  private void findSaved() {
    Set<String> found = new LinkedHashSet<>();
    for (String path : paths) {
      for (String name : selection.modulesToSave()) {
        if (path.endsWith(name)) {
          matchedSaves.add(name);
          found.add(path);
        }
      }
    }
    for (String path : found) {
      if (ancestorIn(path, found) == null) {
        saved.add(path);
      }
    }
  }

  /** The nearest module around a path that is in a set, if one is. */
  static @Nullable String ancestorIn(String path, Set<String> set) {
    for (int dot = path.lastIndexOf('.'); dot > 0; dot = path.lastIndexOf('.', dot - 1)) {
      String ancestor = path.substring(0, dot);
      if (set.contains(ancestor)) {
        return ancestor;
      }
    }
    return null;
  }

  private String shown(String entry) {
    return selection.targets() instanceof Targets.AllLinear ? Targets.ALL_LINEAR : entry;
  }
}
