package io.peft4j.target;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.types.Shape;
import io.peft4j.target.MatchProblem.Kind;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.EdgeCasesMode;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.Tuple;
import net.jqwik.api.statistics.Statistics;

/**
 * {@link TargetMatcher} against the rules written down as plainly as can be, without expressions.
 */
final class TargetMatcherPropertyTest {
  private static final List<String> PARTS = List.of("mod", "layers", "h", "attn", "mlp");
  private static final List<String> LEAVES = List.of("q_proj", "proj", "norm", "emb", "q", "head");

  record Layer(String path, LayerKind kind) {}

  record Selection(
      List<String> targets,
      List<String> exclude,
      List<Integer> layers,
      List<String> patterns,
      List<String> saves,
      boolean allLinear) {}

  record Case(List<Layer> tree, Selection selection) {}

  @Provide
  Arbitrary<Case> cases() {
    Arbitrary<String> part =
        Arbitraries.frequencyOf(
            Tuple.of(3, Arbitraries.of(PARTS)),
            Tuple.of(2, Arbitraries.integers().between(0, 3).map(String::valueOf)));
    Arbitrary<String> path =
        Combinators.combine(part.list().ofMaxSize(5), Arbitraries.of(LEAVES))
            .as((parts, leaf) -> parts.isEmpty() ? leaf : String.join(".", parts) + "." + leaf);
    Arbitrary<LayerKind> kind =
        Arbitraries.of(
            LayerKind.LINEAR,
            LayerKind.LINEAR,
            LayerKind.LINEAR_TRANSPOSED,
            LayerKind.EMBEDDING,
            LayerKind.OTHER);
    Arbitrary<List<Layer>> tree =
        Combinators.combine(path, kind)
            .as(Layer::new)
            .list()
            .uniqueElements(Layer::path)
            .ofMinSize(1)
            .ofMaxSize(30);
    return tree.flatMap(layers -> selections(layers).map(selection -> new Case(layers, selection)));
  }

  private static Arbitrary<Selection> selections(List<Layer> layers) {
    // Mostly ends of real paths, sometimes whole words or letters that exist only in part.
    Set<String> ends = new TreeSet<>(Arrays.asList("proj", "rms", "no.such", "layers", "q"));
    Set<String> words = new TreeSet<>(Arrays.asList("proj", "d", "no.such"));
    for (Layer layer : layers) {
      for (String module : modules(layer.path())) {
        for (int dot = -1; ; dot = module.indexOf('.', dot + 1)) {
          if (module.equals(layer.path())) {
            ends.add(module.substring(dot + 1));
          }
          words.add(module.substring(dot + 1));
          if (module.indexOf('.', dot + 1) < 0) {
            break;
          }
        }
      }
    }
    Arbitrary<String> end = Arbitraries.of(ends);
    Arbitrary<String> word = Arbitraries.of(words);
    Arbitrary<List<Integer>> some = Arbitraries.integers().between(0, 4).list().ofMaxSize(2);
    return Combinators.combine(
            end.list().ofMaxSize(30),
            Arbitraries.oneOf(Arbitraries.just(List.<String>of()), word.list().ofMaxSize(2)),
            Arbitraries.oneOf(Arbitraries.just(List.<Integer>of()), some),
            Arbitraries.of(PARTS).list().ofMaxSize(2),
            Arbitraries.oneOf(Arbitraries.just(List.<String>of()), word.list().ofMaxSize(2)),
            Arbitraries.of(true, false, false, false))
        .as(TargetMatcherPropertyTest::selection);
  }

  private static Selection selection(
      List<String> targets,
      List<String> exclude,
      List<Integer> layers,
      List<String> patterns,
      List<String> saves,
      boolean allLinear) {
    List<Integer> indexes = allLinear ? List.of() : layers;
    // Long lists are shortened first, which restricts whole paths too: see TargetMatcherTest.
    List<String> distinct = targets.stream().distinct().toList();
    List<String> few =
        indexes.isEmpty() ? distinct : distinct.subList(0, Math.min(19, distinct.size()));
    return new Selection(
        few,
        exclude.stream().distinct().toList(),
        indexes.stream().distinct().toList(),
        indexes.isEmpty() ? List.of() : patterns.stream().distinct().toList(),
        saves.stream().distinct().toList(),
        allLinear);
  }

  @Property(tries = 1000, edgeCases = EdgeCasesMode.NONE)
  void matchesAsTheRulesSay(@ForAll("cases") Case example) {
    Selection s = example.selection();
    Matches matches = match(example);
    Model model = new Model(example);
    Statistics.label("adapted").collect(model.adapted.isEmpty() ? "none" : "some");
    Statistics.label("excluded").collect(model.excluded.isEmpty() ? "none" : "some");
    assertEquals(model.adapted, matches.layers().stream().map(LayerSpec::path).toList(), "adapted");
    assertEquals(
        model.excluded,
        matches.excluded().stream().map(Matches.Excluded::path).collect(Collectors.toSet()),
        "excluded");
    assertEquals(model.saved, Set.copyOf(matches.modulesToSave()), "saved");
    if (!s.allLinear()) {
      Set<String> unmatched = unmatched(matches, "target_modules");
      // While the layers themselves are wrong, entries that they filter are not reported.
      boolean layersFit =
          unmatched(matches, "layers_to_transform").isEmpty()
              && unmatched(matches, "layers_pattern").isEmpty();
      assertEquals(layersFit ? model.unmatched() : model.unknown(), unmatched, "unmatched targets");
    }
    assertEquals(model.idleExcludes(), unmatched(matches, "exclude_modules"), "unmatched excludes");
    assertEquals(model.idleSaves(), unmatched(matches, "modules_to_save"), "unmatched saves");
    boolean unsupported = matches.problems().stream().anyMatch(p -> p.kind() == Kind.UNSUPPORTED);
    assertEquals(!model.unsupported.isEmpty(), unsupported, "unsupported");
    for (Matches.Adapted adapted : matches.adapted()) {
      assertTrue(
          s.allLinear() || Model.names(adapted.entry(), adapted.layer().path()),
          "the reason holds");
    }
  }

  @Property(tries = 300, edgeCases = EdgeCasesMode.NONE)
  void resolvedTargetsSelectTheSame(@ForAll("cases") Case example) {
    Matches matches = match(example);
    Selection s = example.selection();
    List<String> resolved = ((Targets.Names) matches.resolvedTargets()).names();
    Selection again =
        new Selection(resolved, s.exclude(), s.layers(), s.patterns(), s.saves(), false);
    assertEquals(matches.layers(), match(new Case(example.tree(), again)).layers());
  }

  private static Matches match(Case example) {
    ModelLayout.Builder builder = ModelLayout.builder("test");
    for (Layer layer : example.tree()) {
      builder.layer(layer.path(), layer.kind(), new Shape(2, 2), false);
    }
    Selection s = example.selection();
    return TargetMatcher.match(
        builder.build(),
        TargetSelection.builder()
            .targets(s.allLinear() ? Targets.allLinear() : Targets.names(s.targets()))
            .exclude(Targets.names(s.exclude()))
            .layersToTransform(s.layers())
            .layersPattern(s.patterns())
            .modulesToSave(s.saves())
            .build());
  }

  private static Set<String> unmatched(Matches matches, String field) {
    return matches.problems().stream()
        .filter(p -> p.kind() == Kind.UNMATCHED && p.field().equals(field))
        .map(MatchProblem::entry)
        .collect(Collectors.toSet());
  }

  private static List<String> modules(String path) {
    List<String> modules = new ArrayList<>();
    for (int dot = path.indexOf('.'); dot >= 0; dot = path.indexOf('.', dot + 1)) {
      modules.add(path.substring(0, dot));
    }
    modules.add(path);
    return modules;
  }

  /** The rules, one module and one entry at a time. */
  private static final class Model {
    final Set<String> modules = new LinkedHashSet<>();
    final List<String> targets;
    final Selection selection;
    final List<String> adapted = new ArrayList<>();
    final Set<String> excluded = new LinkedHashSet<>();
    final Set<String> unsupported = new LinkedHashSet<>();
    final Set<String> saved = new LinkedHashSet<>();

    Model(Case example) {
      selection = example.selection();
      Map<String, LayerKind> kinds =
          example.tree().stream().collect(Collectors.toMap(Layer::path, Layer::kind));
      example.tree().forEach(layer -> modules.addAll(modules(layer.path())));
      targets =
          !selection.allLinear()
              ? selection.targets()
              : example.tree().stream()
                  .filter(layer -> layer.kind().isLinear())
                  .map(Layer::path)
                  .toList();
      for (String module : modules) {
        boolean named = targets.stream().anyMatch(target -> names(target, module));
        if (named && isExcluded(module)) {
          excluded.add(module);
        } else if (named && isInLayers(module)) {
          if (kinds.getOrDefault(module, LayerKind.OTHER) == LayerKind.OTHER) {
            unsupported.add(module);
          }
        }
        if (selection.saves().stream().anyMatch(module::endsWith)) {
          saved.add(module);
        }
      }
      saved.removeIf(
          path ->
              modules(path).stream()
                  .anyMatch(
                      around ->
                          !around.equals(path)
                              && selection.saves().stream().anyMatch(around::endsWith)));
      for (Layer layer : example.tree()) {
        String path = layer.path();
        if (layer.kind() != LayerKind.OTHER
            && targets.stream().anyMatch(target -> names(target, path))
            && !isExcluded(path)
            && isInLayers(path)) {
          adapted.add(path);
        }
      }
    }

    static boolean names(String name, String module) {
      return module.equals(name) || module.endsWith("." + name);
    }

    boolean isExcluded(String module) {
      return selection.exclude().stream().anyMatch(name -> names(name, module))
          || selection.saves().stream()
              .anyMatch(name -> ("." + module + ".").contains("." + name + "."));
    }

    boolean isInLayers(String module) {
      if (selection.layers().isEmpty() || targets.contains(module)) {
        return true;
      }
      String[] parts = module.split("\\.");
      if (selection.patterns().isEmpty()) {
        return firstNumber(parts, 2, null);
      }
      for (String pattern : selection.patterns()) {
        for (int i = 1; i < parts.length - 1; i++) {
          if (isNumber(parts[i]) && parts[i - 1].equals(pattern)) {
            return firstNumber(parts, i, pattern);
          }
        }
      }
      return false;
    }

    private boolean firstNumber(String[] parts, int from, String name) {
      for (int i = from; i < parts.length - 1; i++) {
        if (isNumber(parts[i]) && (name == null || parts[i - 1].equals(name))) {
          return selection.layers().contains(Integer.valueOf(parts[i]));
        }
      }
      return false;
    }

    private static boolean isNumber(String part) {
      return Character.isDigit(part.charAt(0));
    }

    /** Entries that name no module at all. */
    Set<String> unknown() {
      return selection.targets().stream()
          .filter(target -> modules.stream().noneMatch(module -> names(target, module)))
          .collect(Collectors.toSet());
    }

    /** Entries that name no module but in layers that are not meant. */
    Set<String> unmatched() {
      return selection.targets().stream()
          .filter(
              target ->
                  modules.stream()
                      .filter(module -> names(target, module))
                      .noneMatch(module -> isExcluded(module) || isInLayers(module)))
          .collect(Collectors.toSet());
    }

    Set<String> idleExcludes() {
      return selection.exclude().stream()
          .filter(name -> modules.stream().noneMatch(module -> names(name, module)))
          .collect(Collectors.toSet());
    }

    Set<String> idleSaves() {
      return selection.saves().stream()
          .filter(name -> modules.stream().noneMatch(module -> module.endsWith(name)))
          .collect(Collectors.toSet());
    }
  }
}
