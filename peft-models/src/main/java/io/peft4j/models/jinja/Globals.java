package io.peft4j.models.jinja;

import java.time.Clock;
import java.time.LocalDateTime;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The functions that every chat template knows. */
final class Globals {
  private Globals() {}

  static Map<String, Object> of(Clock clock) {
    Map<String, Object> globals = new HashMap<>();
    globals.put("range", (Function) Globals::range);
    globals.put("dict", (Function) Globals::dict);
    globals.put("namespace", (Function) Namespace::create);
    globals.put("raise_exception", (Function) Globals::raise);
    globals.put("cycler", (Function) (engine, arguments) -> new Cycler(arguments.positional()));
    globals.put("joiner", (Function) (engine, arguments) -> new Joiner(arguments));
    globals.put(
        "strftime_now",
        (Function)
            (engine, arguments) -> {
              String format = arguments.bind("strftime_now", "format").string(0);
              return DateFormat.format(engine, format, LocalDateTime.now(clock));
            });
    return globals;
  }

  private static Object range(Engine engine, Arguments arguments) {
    Arguments.Bound given = arguments.bind("range", "start", "stop?", "step?");
    long first = given.integer(0, 0);
    return given.has(1)
        ? Range.of(first, given.integer(1, 0), given.integer(2, 1))
        : Range.of(0, first, 1);
  }

  /** A dict of another one, or of pairs, and of arguments by name. */
  static Dict dict(Engine engine, Arguments arguments) {
    Dict dict = new Dict();
    if (arguments.positional().size() > 1) {
      throw new Failure("dict takes at most one value without a name");
    }
    for (Object given : arguments.positional()) {
      if (given instanceof Dict other) {
        engine.budget().elements(other.size());
        dict.putAll(other);
        continue;
      }
      for (Object pair : Values.list(engine, given)) {
        List<Object> both = Values.list(engine, pair);
        if (both.size() != 2) {
          throw new Failure("dict needs pairs, not " + both.size() + " values");
        }
        dict.put(both.get(0), both.get(1));
      }
    }
    arguments.named().forEach(dict::put);
    return dict;
  }

  private static Object raise(Engine engine, Arguments arguments) {
    Object message = arguments.bind("raise_exception", "message").get(0);
    throw Failure.raised(Printer.text(engine, message));
  }

  /** Gives values in turn. */
  private static final class Cycler implements Special {
    private final List<Object> values;
    private int position;

    Cycler(List<Object> values) {
      if (values.isEmpty()) {
        throw new Failure("cycler needs at least one value");
      }
      this.values = values;
    }

    @Override
    public @Nullable Object attribute(String name) {
      return switch (name) {
        case "current" -> values.get(position);
        case "next" ->
            (Function)
                (engine, arguments) -> {
                  Object value = values.get(position);
                  position = (position + 1) % values.size();
                  return value;
                };
        case "reset" ->
            (Function)
                (engine, arguments) -> {
                  position = 0;
                  return None.NONE;
                };
        default -> null;
      };
    }

    @Override
    public String typeName() {
      return "Cycler";
    }
  }

  /** Gives nothing at the first call, a separator at all others. */
  private static final class Joiner implements Special, Function {
    private final Object separator;
    private boolean used;

    Joiner(Arguments arguments) {
      separator = arguments.bind("joiner", "sep?").get(0, ", ");
    }

    @Override
    public Object call(Engine engine, Arguments arguments) {
      boolean first = !used;
      used = true;
      return first ? "" : separator;
    }

    @Override
    public @Nullable Object attribute(String name) {
      return null;
    }

    @Override
    public String typeName() {
      return "Joiner";
    }
  }
}
