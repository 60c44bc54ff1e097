package io.peft4j.target;

import io.peft4j.InvalidConfigException;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Decides which layers of a model a configuration means, by the rules of Hugging Face PEFT:
 *
 * <ol>
 *   <li>What {@code exclude_modules} matches is left out, and so is every module named by {@code
 *       modules_to_save} with all that is inside it.
 *   <li>A regular expression in {@code target_modules} must match the whole path. A name matches
 *       the path that it is, or a path that ends with a dot and the name.
 *   <li>{@code layers_to_transform} restricts names that are not whole paths to layers of these
 *       indexes; the index is the first number that follows a name of {@code layers_pattern}.
 *   <li>{@code all-linear} is the list of all linear layers but the one that gives the logits and,
 *       when sequences are classified, the head.
 *   <li>A list of 20 names or more is first shortened to the ends of paths that select the same.
 * </ol>
 *
 * <p>Modules are those of {@link ModelLayout#modules()}, containers included: a target that matches
 * a container or a layer of a kind that the method cannot adapt is a problem.
 */
public final class TargetMatcher {
  private static final Set<LayerKind> KNOWN =
      Collections.unmodifiableSet(EnumSet.complementOf(EnumSet.of(LayerKind.OTHER)));

  private TargetMatcher() {}

  /**
   * Matches for a method that can adapt every kind of layer but {@link LayerKind#OTHER}.
   *
   * @param layout the model
   * @param selection what is meant
   * @return what that is on this model
   * @throws InvalidConfigException if an entry that is used as a regular expression is not valid
   */
  public static Matches match(ModelLayout layout, TargetSelection selection) {
    return match(layout, selection, KNOWN);
  }

  /**
   * Matches for a method that can adapt some kinds of layers. Nothing that does not match is an
   * error yet: see {@link Matches#requireAll()} and {@link Matches#problems()}.
   *
   * @param layout the model
   * @param selection what is meant
   * @param kinds the kinds of layers that the method can adapt
   * @return what that is on this model
   * @throws InvalidConfigException if an entry that is used as a regular expression is not valid
   */
  public static Matches match(ModelLayout layout, TargetSelection selection, Set<LayerKind> kinds) {
    return new Matching(layout, selection, kinds).run();
  }

  /**
   * The layers whose paths end with a name, wherever in a word that begins: the rule by which
   * {@code trainable_token_indices} names its layers.
   *
   * @param layout the model
   * @param field the configuration's field, for the message
   * @param name the end of a path
   * @return the layers, at least one, in order
   * @throws InvalidConfigException if there are none
   */
  public static List<LayerSpec> layersEndingWith(ModelLayout layout, String field, String name) {
    List<LayerSpec> found =
        layout.layers().stream()
            .filter(layer -> layer.path().endsWith(name))
            .collect(Collectors.toUnmodifiableList());
    if (found.isEmpty() || name.isEmpty()) {
      throw new InvalidConfigException(
          Wording.unmatched(field + " entry", name, "no layer", layout)
              + Wording.nearest(
                  name,
                  layout.layers().stream().map(LayerSpec::path).collect(Collectors.toList())));
    }
    return found;
  }
}
