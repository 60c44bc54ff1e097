package io.peft4j.target;

import io.peft4j.InvalidConfigException;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/** What a {@link TargetSelection} means on a certain model. Immutable. */
public final class Matches {
  private static final int SHOWN = 10;

  private final List<Adapted> adapted;
  private final List<Excluded> excluded;
  private final List<String> modulesToSave;
  private final List<MatchProblem> problems;
  private final Targets resolvedTargets;

  Matches(
      List<Adapted> adapted,
      List<Excluded> excluded,
      List<String> modulesToSave,
      List<MatchProblem> problems,
      Targets resolvedTargets) {
    this.adapted = List.copyOf(adapted);
    this.excluded = List.copyOf(excluded);
    this.modulesToSave = List.copyOf(modulesToSave);
    this.problems = List.copyOf(problems);
    this.resolvedTargets = resolvedTargets;
  }

  /**
   * A layer to adapt.
   *
   * @param layer the layer
   * @param entry why: the name, the expression, or {@code all-linear}
   */
  public record Adapted(LayerSpec layer, String entry) {}

  /**
   * A module that is targeted but left out.
   *
   * @param path the module
   * @param entry why it is targeted: the name, the expression, or {@code all-linear}
   * @param field why it is left out: {@code exclude_modules} or {@code modules_to_save}
   * @param exclusion the entry of that field
   */
  public record Excluded(String path, String entry, String field, String exclusion) {}

  /**
   * The layers to adapt, each with its reason.
   *
   * @return in the order of {@link ModelLayout#layers()}
   */
  public List<Adapted> adapted() {
    return adapted;
  }

  /**
   * The layers to adapt.
   *
   * @return in the order of {@link ModelLayout#layers()}
   */
  public List<LayerSpec> layers() {
    return adapted.stream().map(Adapted::layer).collect(Collectors.toUnmodifiableList());
  }

  /**
   * Why a layer is adapted.
   *
   * @param path the layer's path
   * @return the name, the expression or {@code all-linear} that selects it, if it is adapted
   */
  public Optional<String> reason(String path) {
    return adapted.stream()
        .filter(match -> match.layer().path().equals(path))
        .map(Adapted::entry)
        .findFirst();
  }

  /**
   * Targeted modules that are left out.
   *
   * @return in the order of {@link ModelLayout#modules()}
   */
  public List<Excluded> excluded() {
    return excluded;
  }

  /**
   * Modules that are trained whole. PEFT matches them by the mere end of the path: {@code norm}
   * also means {@code input_layernorm}.
   *
   * @return their paths, none inside another, in the order of {@link ModelLayout#modules()}
   */
  public List<String> modulesToSave() {
    return modulesToSave;
  }

  /**
   * Everything named that does not fit the model.
   *
   * @return the problems; empty if all is well
   */
  public List<MatchProblem> problems() {
    return problems;
  }

  /**
   * The targets as PEFT writes them into {@code adapter_config.json}: {@code all-linear} becomes
   * the list of layers, and lists of 20 names and more become the shortest ends of paths that
   * select the same.
   *
   * @return names or an expression
   */
  public Targets resolvedTargets() {
    return resolvedTargets;
  }

  /**
   * Insists that everything named fits the model, as a new configuration must.
   *
   * @return this
   * @throws InvalidConfigException if there are {@link #problems()}, naming them all up to ten
   */
  public Matches requireAll() {
    if (problems.isEmpty()) {
      return this;
    }
    if (problems.size() == 1) {
      throw new InvalidConfigException(problems.get(0).message());
    }
    StringBuilder message = new StringBuilder();
    message.append(problems.size()).append(" settings do not fit the model:");
    for (MatchProblem problem : problems.subList(0, Math.min(SHOWN, problems.size()))) {
      message.append("\n- ").append(problem.message());
    }
    if (problems.size() > SHOWN) {
      message.append("\n- and ").append(problems.size() - SHOWN).append(" more");
    }
    throw new InvalidConfigException(message.toString());
  }
}
