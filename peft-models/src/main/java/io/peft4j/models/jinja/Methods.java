package io.peft4j.models.jinja;

import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The methods of dicts, lists and tuples; those of texts are in {@link TextMethods}. */
final class Methods {
  private static final Set<String> LIST_CHANGES =
      Set.of("append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort");
  private static final Set<String> DICT_CHANGES =
      Set.of("clear", "pop", "popitem", "setdefault", "update");

  private Methods() {}

  /** The method of that name; {@link Undefined} if it would change the object; null if none. */
  static @Nullable Object find(Object value, String name) {
    if (value instanceof String text) {
      return TextMethods.find(text, name);
    }
    if (value instanceof Dict dict) {
      return DICT_CHANGES.contains(name) ? Undefined.unsafe(value, name) : ofDict(dict, name);
    }
    if (value instanceof List && LIST_CHANGES.contains(name)) {
      return Undefined.unsafe(value, name);
    }
    List<Object> items = Values.sequence(value);
    return items == null ? null : ofSequence(value, items, name);
  }

  private static @Nullable Function ofDict(Dict dict, String name) {
    return switch (name) {
      case "keys" -> view(dict, name, DictView.Kind.KEYS);
      case "values" -> view(dict, name, DictView.Kind.VALUES);
      case "items" -> view(dict, name, DictView.Kind.ITEMS);
      case "get" ->
          (engine, arguments) -> {
            Arguments.Bound given = positionalOnly(arguments).bind("get", "key", "default?");
            Object found = dict.get(given.get(0));
            return found == null ? given.get(1, None.NONE) : found;
          };
      case "copy" ->
          (engine, arguments) -> {
            arguments.bind("copy");
            engine.budget().elements(dict.size());
            Dict copy = new Dict();
            copy.putAll(dict);
            return copy;
          };
      default -> null;
    };
  }

  private static Arguments positionalOnly(Arguments arguments) {
    if (!arguments.named().isEmpty()) {
      throw new Failure("get takes no arguments by name");
    }
    return arguments;
  }

  private static Function view(Dict dict, String name, DictView.Kind kind) {
    return (engine, arguments) -> {
      arguments.bind(name);
      return new DictView(kind, dict);
    };
  }

  private static @Nullable Function ofSequence(Object whole, List<Object> items, String name) {
    return switch (name) {
      case "count" ->
          (engine, arguments) -> {
            Object wanted = arguments.bind("count", "value").get(0);
            return items.stream().filter(item -> Operators.equal(engine, item, wanted)).count();
          };
      case "index" ->
          (engine, arguments) -> {
            Object wanted = arguments.bind("index", "value").get(0);
            for (int i = 0; i < items.size(); i++) {
              if (Operators.equal(engine, items.get(i), wanted)) {
                return (long) i;
              }
            }
            throw new Failure("index: the value is not in the " + Values.typeName(whole));
          };
      case "copy" ->
          whole instanceof Tuple
              ? null
              : (engine, arguments) -> {
                arguments.bind("copy");
                return whole;
              };
      default -> null;
    };
  }
}
