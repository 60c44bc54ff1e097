package io.peft4j.models.jinja;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** What a call was given. */
record Arguments(List<Object> positional, Map<String, Object> named) {
  static Arguments of(Object... positional) {
    return new Arguments(List.of(positional), Map.of());
  }

  /** These arguments with one more in front, as a filter gets them. */
  Arguments after(Object first) {
    List<Object> all = new ArrayList<>(positional.size() + 1);
    all.add(first);
    all.addAll(positional);
    return new Arguments(all, named);
  }

  Arguments without(int count) {
    return new Arguments(positional.subList(count, positional.size()), named);
  }

  /**
   * Sorts the arguments by parameter.
   *
   * @param function what error messages call the function
   * @param parameters names in order; one that ends in "?" may be left out
   */
  Bound bind(String function, String... parameters) {
    if (positional.size() > parameters.length) {
      throw new Failure(
          function
              + " takes at most "
              + parameters.length
              + " arguments, but "
              + positional.size()
              + " were given");
    }
    @Nullable Object[] values = new @Nullable Object[parameters.length];
    int used = 0;
    for (int i = 0; i < parameters.length; i++) {
      boolean optional = parameters[i].endsWith("?");
      String name = optional ? parameters[i].replace("?", "") : parameters[i];
      boolean named = this.named.containsKey(name);
      if (named && i < positional.size()) {
        throw new Failure(function + " got two values for '" + name + "'");
      }
      values[i] = i < positional.size() ? positional.get(i) : this.named.get(name);
      used += named ? 1 : 0;
      if (values[i] == null && !optional) {
        throw new Failure(function + " needs an argument '" + name + "'");
      }
    }
    if (used < named.size()) {
      List<String> known = Arrays.stream(parameters).map(name -> name.replace("?", "")).toList();
      String unknown =
          named.keySet().stream().filter(key -> !known.contains(key)).findFirst().get();
      throw new Failure(function + " has no argument '" + unknown + "'; it has " + known);
    }
    return new Bound(function, parameters, values);
  }

  /** Arguments by the place of their parameter. */
  record Bound(String function, String[] parameters, @Nullable Object[] values) {
    boolean has(int index) {
      return values[index] != null;
    }

    Object get(int index) {
      Object value = values[index];
      if (value == null) {
        throw new IllegalStateException(function + ": " + parameters[index]);
      }
      return value;
    }

    Object get(int index, Object fallback) {
      Object value = values[index];
      return value == null ? fallback : value;
    }

    boolean truth(int index) {
      return values[index] != null && Values.truth(get(index));
    }

    long integer(int index, long fallback) {
      Object value = values[index];
      if (value == null) {
        return fallback;
      }
      return Values.integer(value, function);
    }

    String string(int index) {
      if (get(index) instanceof String text) {
        return text;
      }
      throw new Failure(
          function
              + ": '"
              + parameters[index].replace("?", "")
              + "' must be a str, not "
              + Values.typeName(get(index)));
    }

    /** Null if it was left out or is None. */
    @Nullable String optionalString(int index) {
      return values[index] == null || values[index] == None.NONE ? null : string(index);
    }
  }
}
