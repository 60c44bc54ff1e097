package io.peft4j.models.jinja;

import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** All filters by name. A filter is a function whose first argument is the value before the bar. */
final class Filters {
  private static final Map<String, Function> ALL = new TreeMap<>();

  static {
    ALL.putAll(TextFilters.ALL);
    ALL.putAll(NumberFilters.ALL);
    ALL.putAll(SequenceFilters.ALL);
  }

  static final Set<String> KEEP_MARKUP =
      Set.of("capitalize", "center", "indent", "lower", "reverse", "string", "trim", "upper");

  private Filters() {}

  static @Nullable Function find(String name) {
    return ALL.get(name);
  }

  static String names() {
    return String.join(", ", ALL.keySet());
  }
}
