package io.peft4j.qlora;

import io.peft4j.InvalidConfigException;
import io.peft4j.target.ModelLayout;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/**
 * Which modules transformers does not quantize. A name in the list means every module whose path
 * ends in it, and as a regular expression every module whose path begins with it, up to the end of
 * a step of the path.
 */
final class SkippedModules {
  private static final String WEIGHT = ".weight";

  private final List<String> ends = new ArrayList<>();
  private final List<Pattern> beginnings = new ArrayList<>();

  private SkippedModules(Set<String> names) {
    for (String name : names) {
      ends.add(name);
      try {
        beginnings.add(Pattern.compile("(?:" + name + ")(?:(?<=\\.)|(?=\\.|$))"));
      } catch (PatternSyntaxException e) {
        throw new InvalidConfigException(
            "llm_int8_skip_modules: '"
                + name
                + "' is not a regular expression: "
                + e.getDescription());
      }
    }
  }

  /** Those that a configuration names; if it names none, those that are skipped by themselves. */
  static SkippedModules of(BitsAndBytesConfig config, ModelLayout layout) {
    return new SkippedModules(
        config.skipModules().<Set<String>>map(LinkedHashSet::new).orElseGet(() -> usual(layout)));
  }

  /**
   * The output layer, what shares its weight, and the last parameter: all names without {@code
   * .weight}, so that a last parameter which is a bias skips nothing.
   */
  private static Set<String> usual(ModelLayout layout) {
    Set<String> names = new LinkedHashSet<>();
    layout.outputLayer().ifPresent(names::add);
    layout
        .tied()
        .forEach(
            (alias, name) -> {
              names.add(module(alias));
              names.add(module(name));
            });
    String last = "";
    for (String name : layout.parameters().keySet()) {
      last = name;
    }
    names.add(module(last));
    return names;
  }

  private static String module(String parameter) {
    return parameter.endsWith(WEIGHT)
        ? parameter.substring(0, parameter.length() - WEIGHT.length())
        : parameter;
  }

  /** Tells whether a module is left as it is. */
  boolean contains(String path) {
    return ends.stream().anyMatch(path::endsWith)
        || beginnings.stream().anyMatch(pattern -> pattern.matcher(path).lookingAt());
  }
}
