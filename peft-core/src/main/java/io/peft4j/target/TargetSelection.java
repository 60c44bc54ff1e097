package io.peft4j.target;

import io.peft4j.InvalidConfigException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * All that a configuration says about which layers it means. Immutable; {@link TargetMatcher}
 * applies it to a model.
 */
public final class TargetSelection {
  private final Targets targets;
  private final @Nullable Targets exclude;
  private final List<Integer> layersToTransform;
  private final List<String> layersPattern;
  private final List<String> modulesToSave;
  private final List<PatternTable<?>> patterns;
  private final boolean sequenceClassification;

  private TargetSelection(Builder builder, Targets targets) {
    this.targets = targets;
    exclude = builder.exclude;
    layersToTransform = List.copyOf(builder.layersToTransform);
    layersPattern = List.copyOf(builder.layersPattern);
    modulesToSave = List.copyOf(builder.modulesToSave);
    patterns = List.copyOf(builder.patterns);
    sequenceClassification = builder.sequenceClassification;
  }

  /**
   * Starts a selection.
   *
   * @return an empty builder
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * What is to be adapted.
   *
   * @return {@code target_modules}
   */
  public Targets targets() {
    return targets;
  }

  /**
   * What is left out of the targets.
   *
   * @return {@code exclude_modules}, if given
   */
  public Optional<Targets> exclude() {
    return Optional.ofNullable(exclude);
  }

  /**
   * The indexes of the layers that names apply to.
   *
   * @return {@code layers_to_transform}; empty for all layers
   */
  public List<Integer> layersToTransform() {
    return layersToTransform;
  }

  /**
   * Under which names layers are numbered.
   *
   * @return {@code layers_pattern}; empty if any name will do
   */
  public List<String> layersPattern() {
    return layersPattern;
  }

  /**
   * Modules that are trained whole, and in which nothing is adapted.
   *
   * @return {@code modules_to_save}
   */
  public List<String> modulesToSave() {
    return modulesToSave;
  }

  /**
   * The tables whose keys must match adapted layers.
   *
   * @return the tables
   */
  public List<PatternTable<?>> patterns() {
    return patterns;
  }

  /**
   * Whether the task is to classify sequences: then {@code all-linear} leaves out the model's
   * heads.
   *
   * @return true if it is
   */
  public boolean sequenceClassification() {
    return sequenceClassification;
  }

  /**
   * Checks that a restriction to numbered layers goes together with what is targeted.
   *
   * @param targets {@code target_modules}; null for the defaults of the model, which are names
   * @param layersToTransform {@code layers_to_transform}
   * @param layersPattern {@code layers_pattern}
   * @throws InvalidConfigException if the targets are no list of names, or there are names of
   *     numbered layers but no numbers
   */
  public static void checkLayers(
      @Nullable Targets targets,
      Collection<Integer> layersToTransform,
      Collection<String> layersPattern) {
    if (targets != null && !(targets instanceof Targets.Names)) {
      if (!layersToTransform.isEmpty()) {
        throw needsList("layers_to_transform", layersToTransform, targets);
      }
      if (!layersPattern.isEmpty()) {
        throw needsList("layers_pattern", layersPattern, targets);
      }
    }
    if (!layersPattern.isEmpty() && layersToTransform.isEmpty()) {
      throw new InvalidConfigException(
          "layers_pattern "
              + layersPattern
              + " needs layers_to_transform, which says which of the numbered layers are meant");
    }
  }

  private static InvalidConfigException needsList(
      String field, Collection<?> value, Targets targets) {
    return new InvalidConfigException(
        field
            + " works only with a list of names in target_modules, got "
            + field
            + " "
            + value
            + " with target_modules '"
            + targets.jsonValue()
            + "'. Write the list, or put the layers' numbers into a regular expression");
  }

  /** Collects a {@link TargetSelection}. */
  public static final class Builder {
    private @Nullable Targets targets;
    private @Nullable Targets exclude;
    private final Set<Integer> layersToTransform = new LinkedHashSet<>();
    private final Set<String> layersPattern = new LinkedHashSet<>();
    private final Set<String> modulesToSave = new LinkedHashSet<>();
    private final List<PatternTable<?>> patterns = new ArrayList<>();
    private boolean sequenceClassification;

    private Builder() {}

    /**
     * Sets what is to be adapted; required.
     *
     * @param value {@code target_modules}, or the architecture's default
     * @return this
     */
    public Builder targets(Targets value) {
      targets = value;
      return this;
    }

    /**
     * Sets what is left out of the targets.
     *
     * @param value {@code exclude_modules}: names or an expression
     * @return this
     */
    public Builder exclude(Targets value) {
      exclude = value;
      return this;
    }

    /**
     * Restricts names to some layers. A name that is a layer's whole path is not restricted.
     *
     * @param indexes {@code layers_to_transform}, from 0; empty for all layers
     * @return this
     */
    public Builder layersToTransform(Collection<Integer> indexes) {
      layersToTransform.clear();
      layersToTransform.addAll(indexes);
      return this;
    }

    /**
     * Says under which names layers are numbered.
     *
     * @param names {@code layers_pattern}: regular expressions, such as {@code layers} or {@code
     *     h}; empty strings say nothing
     * @return this
     */
    public Builder layersPattern(Collection<String> names) {
      layersPattern.clear();
      layersPattern.addAll(names);
      layersPattern.remove("");
      return this;
    }

    /**
     * Sets the modules that are trained whole.
     *
     * @param names {@code modules_to_save}: ends of paths
     * @return this
     */
    public Builder modulesToSave(Collection<String> names) {
      modulesToSave.clear();
      modulesToSave.addAll(names);
      return this;
    }

    /**
     * Adds a table whose keys must match adapted layers.
     *
     * @param table {@code rank_pattern}, {@code alpha_pattern} or the like
     * @return this
     */
    public Builder pattern(PatternTable<?> table) {
      patterns.add(table);
      return this;
    }

    /**
     * Says that the task is to classify sequences ({@code SEQ_CLS}).
     *
     * @param value whether it is
     * @return this
     */
    public Builder sequenceClassification(boolean value) {
      sequenceClassification = value;
      return this;
    }

    /**
     * Finishes the selection.
     *
     * @return the selection
     * @throws InvalidConfigException if the parts do not go together
     */
    public TargetSelection build() {
      if (targets == null) {
        throw new InvalidConfigException(
            "target_modules is missing: give a list of names, a regular expression, or "
                + Targets.ALL_LINEAR);
      }
      if (exclude instanceof Targets.AllLinear) {
        throw new InvalidConfigException(
            "exclude_modules cannot be "
                + Targets.ALL_LINEAR
                + "; give a list of names or a regular expression");
      }
      if (modulesToSave.contains("")) {
        throw new InvalidConfigException(
            "modules_to_save holds an empty name; give names such as lm_head, got "
                + modulesToSave);
      }
      for (int index : layersToTransform) {
        if (index < 0) {
          throw new InvalidConfigException(
              "layers_to_transform counts layers from 0, got " + index);
        }
      }
      checkLayers(targets, layersToTransform, layersPattern);
      return new TargetSelection(this, targets);
    }
  }
}
