package io.peft4j.target;

import io.peft4j.InvalidConfigException;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * Chooses parameters by patterns. A pattern is a regular expression of Python's {@code re} module
 * that stands for one or more whole parts of a dotted path, wherever they come, as in Hugging Face
 * PEFT's {@code modules_to_save}: {@code embed_tokens}, {@code layers.[0-5]}, {@code layers.0.mlp},
 * {@code bias}.
 */
public final class ParameterPatterns {
  private ParameterPatterns() {}

  /**
   * The parameters of a model that patterns stand for.
   *
   * @param field the configuration's field, for messages
   * @param patterns the patterns
   * @param layout the model
   * @return names of parameters, in the model's order
   * @throws InvalidConfigException if a pattern is no regular expression or matches nothing; the
   *     message names what is nearest
   */
  public static Set<String> matching(String field, List<String> patterns, ModelLayout layout) {
    Set<String> found = new LinkedHashSet<>();
    for (String entry : patterns) {
      Pattern pattern = compile(field, entry);
      boolean any = false;
      for (String name : layout.parameterNames()) {
        if (pattern.matcher(name).matches()) {
          found.add(name);
          any = true;
        }
      }
      if (!any) {
        throw new InvalidConfigException(
            Wording.unmatched(field, entry, "no parameter", layout)
                + Wording.nearest(entry, layout.modules()));
      }
    }
    Set<String> ordered = new LinkedHashSet<>(layout.parameterNames());
    ordered.retainAll(found);
    return ordered;
  }

  /**
   * Checks patterns before there is a model.
   *
   * @param field the configuration's field, for messages
   * @param patterns the patterns
   * @throws InvalidConfigException if one is no regular expression
   */
  public static void check(String field, List<String> patterns) {
    patterns.forEach(entry -> compile(field, entry));
  }

  private static Pattern compile(String field, String entry) {
    if (entry.isBlank()) {
      throw new InvalidConfigException(field + " has an empty pattern");
    }
    return PythonRegex.compile(field, entry, "(.*\\.)?(" + entry + ")(\\..*)?");
  }
}
