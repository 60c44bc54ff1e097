package io.peft4j.models.jinja;

import java.util.Map;
import java.util.function.Predicate;

/** The filters that apply other filters and tests to each element. */
final class Selection {
  private Selection() {}

  static Object map(Engine engine, Arguments arguments) {
    if (arguments.positional().isEmpty()) {
      throw new Failure("map needs a value");
    }
    Object value = arguments.positional().get(0);
    Arguments rest = arguments.without(1);
    java.util.function.Function<Object, Object> change;
    if (rest.positional().isEmpty() && rest.named().containsKey("attribute")) {
      Arguments.Bound given = rest.bind("map", "attribute", "default?");
      Member member = Member.of(engine, given.get(0));
      Object fallback = given.get(1, None.NONE);
      change = item -> member.of(item, fallback);
    } else {
      if (rest.positional().isEmpty() || !(rest.positional().get(0) instanceof String name)) {
        throw new Failure("map needs the name of a filter, or 'attribute'");
      }
      Arguments more = rest.without(1);
      change = item -> Markup.plain(engine.filter(name, more.after(item)));
    }
    return new Stream(Streams.map(Values.iterate(engine, truthy(value)), change));
  }

  /** What is false is taken as empty, whatever it is. */
  private static Object truthy(Object value) {
    return Values.truth(value) ? value : "";
  }

  static Object select(
      Engine engine, String filter, Arguments arguments, boolean wanted, boolean byAttribute) {
    if (arguments.positional().size() < (byAttribute ? 2 : 1)) {
      throw new Failure(
          filter + " needs " + (byAttribute ? "the name of an attribute" : "a value"));
    }
    Object value = arguments.positional().get(0);
    Arguments rest = arguments.without(1);
    Member member = Member.of(engine, byAttribute ? rest.positional().get(0) : None.NONE);
    rest = byAttribute ? rest.without(1) : rest;
    Predicate<Object> test = test(engine, filter, rest);
    return new Stream(
        Streams.filter(
            Values.iterate(engine, truthy(value)), item -> test.test(member.of(item)) == wanted));
  }

  private static Predicate<Object> test(Engine engine, String filter, Arguments arguments) {
    if (arguments.positional().isEmpty()) {
      return Values::truth;
    }
    if (!(arguments.positional().get(0) instanceof String name)) {
      throw new Failure(filter + ": the name of a test must be a text");
    }
    Arguments more =
        new Arguments(arguments.without(1).positional(), Map.copyOf(arguments.named()));
    return item -> Tests.test(engine, name, more.after(item));
  }
}
