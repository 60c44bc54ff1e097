package io.peft4j.models.jinja;

import java.util.Map;
import java.util.TreeMap;

/** What can stand behind {@code is}. */
final class Tests {
  private interface Test {
    boolean test(Engine engine, Object value, Object other);
  }

  private static final Map<String, Test> PLAIN = new TreeMap<>();
  private static final Map<String, Test> WITH_ARGUMENT = new TreeMap<>();

  static {
    plain("defined", value -> !(value instanceof Undefined));
    plain("undefined", value -> value instanceof Undefined);
    plain("none", value -> value == None.NONE);
    plain("boolean", value -> value instanceof Boolean);
    plain("true", value -> value.equals(true));
    plain("false", value -> value.equals(false));
    plain("integer", value -> value instanceof Long);
    plain("float", value -> value instanceof Double);
    plain("number", Operators::isNumber);
    plain("string", value -> value instanceof String);
    plain("mapping", value -> value instanceof Dict);
    plain("sequence", value -> Values.isSequence(value) || value instanceof Undefined);
    plain("iterable", Values::isIterable);
    // Undefined has a method for being called, which fails.
    plain("callable", value -> value instanceof Function || value instanceof Undefined);
    plain("escaped", value -> false);
    PLAIN.put(
        "lower",
        (engine, value, none) ->
            Text.allCased(Printer.text(engine, value), Character::isLowerCase));
    PLAIN.put(
        "upper",
        (engine, value, none) ->
            Text.allCased(Printer.text(engine, value), Character::isUpperCase));
    PLAIN.put("odd", (engine, value, none) -> rest(engine, value, 2L, 1L));
    PLAIN.put("even", (engine, value, none) -> rest(engine, value, 2L, 0L));
    plain("filter", value -> value instanceof String name && Filters.find(name) != null);
    plain("test", value -> value instanceof String name && exists(name));
    WITH_ARGUMENT.put("divisibleby", (engine, value, by) -> rest(engine, value, by, 0L));
    WITH_ARGUMENT.put("in", (engine, value, all) -> Operators.contains(engine, all, value));
    WITH_ARGUMENT.put("sameas", (engine, value, other) -> value == other || same(value, other));
    comparison("==", "eq", "equalto");
    comparison("!=", "ne");
    comparison("<", "lt", "lessthan");
    comparison("<=", "le");
    comparison(">", "gt", "greaterthan");
    comparison(">=", "ge");
  }

  private Tests() {}

  private static void plain(String name, java.util.function.Predicate<Object> test) {
    PLAIN.put(name, (engine, value, none) -> test.test(value));
  }

  private static void comparison(String operator, String... names) {
    Test test = (engine, value, other) -> Operators.compare(engine, operator, value, other);
    WITH_ARGUMENT.put(operator, test);
    for (String name : names) {
      WITH_ARGUMENT.put(name, test);
    }
  }

  private static boolean rest(Engine engine, Object value, Object by, Object wanted) {
    return Operators.equal(engine, Operators.binary(engine, "%", value, by), wanted);
  }

  /** Booleans and small ints are the same object in Python wherever they are equal. */
  private static boolean same(Object value, Object other) {
    return (value instanceof Boolean || value instanceof Long) && value.equals(other);
  }

  private static boolean exists(String name) {
    return PLAIN.containsKey(name) || WITH_ARGUMENT.containsKey(name);
  }

  /**
   * Tests.
   *
   * @param arguments the value first
   */
  static boolean test(Engine engine, String name, Arguments arguments) {
    Test plain = PLAIN.get(name);
    if (plain != null) {
      return plain.test(engine, arguments.bind(name, "value").get(0), None.NONE);
    }
    Test binary = WITH_ARGUMENT.get(name);
    if (binary == null) {
      throw new Failure("there is no test '" + name + "'");
    }
    Arguments.Bound given = arguments.bind(name, "value", "other");
    return binary.test(engine, given.get(0), given.get(1));
  }
}
