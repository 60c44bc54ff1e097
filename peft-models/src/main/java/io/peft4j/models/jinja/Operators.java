package io.peft4j.models.jinja;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;

/** Python's operators. */
final class Operators {
  private Operators() {}

  static Object binary(Engine engine, String operator, Object first, Object second) {
    Object left = Markup.plain(first);
    Object right = Markup.plain(second);
    boolean marked = left != first || right != second;
    if (marked && operator.equals("+") && left instanceof String a && right instanceof String b) {
      String before = left == first ? engine.made(Markup.escape(a)) : a;
      String after = right == second ? engine.made(Markup.escape(b)) : b;
      return new Markup((String) add(engine, before, after));
    }
    for (Object side : List.of(left, right)) {
      if (side instanceof Undefined undefined
          && !(operator.equals("%") && left instanceof String)) {
        throw undefined.failure();
      }
    }
    if (isNumber(left) && isNumber(right)) {
      return left instanceof Double || right instanceof Double
          ? real(operator, number(left), number(right))
          : whole(operator, Values.integer(left, operator), Values.integer(right, operator));
    }
    if (operator.equals("+")) {
      return add(engine, left, right);
    }
    if (operator.equals("*") && isWhole(right)) {
      return repeat(engine, left, Values.integer(right, "*"), right);
    }
    if (operator.equals("*") && isWhole(left)) {
      return repeat(engine, right, Values.integer(left, "*"), left);
    }
    if (operator.equals("%") && left instanceof String pattern) {
      return engine.made(Formatter.percent(engine, engine.read(pattern), right));
    }
    throw unsupported(operator, left, right);
  }

  private static Failure unsupported(String operator, Object left, Object right) {
    return new Failure(
        "unsupported operand types for "
            + operator
            + ": '"
            + Values.typeName(left)
            + "' and '"
            + Values.typeName(right)
            + "'");
  }

  private static Object add(Engine engine, Object left, Object right) {
    if (left instanceof String a && right instanceof String b) {
      engine.budget().characters((long) a.length() + b.length());
      return a.concat(b);
    }
    List<Object> first = Values.sequence(left);
    List<Object> second = Values.sequence(right);
    if (first == null || second == null || (left instanceof Tuple) != (right instanceof Tuple)) {
      throw unsupported("+", left, right);
    }
    engine.budget().elements((long) first.size() + second.size());
    List<Object> both = new ArrayList<>(first);
    both.addAll(second);
    return left instanceof Tuple ? new Tuple(both) : both;
  }

  private static Object repeat(Engine engine, Object value, long count, Object factor) {
    long times = Math.max(0, count);
    if (value instanceof String text) {
      long length = text.isEmpty() || times == 0 ? 0 : saturated(text.length(), times);
      engine.budget().characters(length);
      return length == 0 ? "" : text.repeat((int) times);
    }
    List<Object> items = Values.sequence(value);
    if (items == null) {
      throw unsupported("*", value, factor);
    }
    long size = items.isEmpty() ? 0 : saturated(items.size(), times);
    engine.budget().elements(size);
    List<Object> all = new ArrayList<>((int) size);
    while (all.size() < size) {
      all.addAll(items);
    }
    return value instanceof Tuple ? new Tuple(all) : all;
  }

  private static long saturated(long left, long right) {
    return right > Long.MAX_VALUE / left ? Long.MAX_VALUE : left * right;
  }

  private static Object whole(String operator, long left, long right) {
    if (right == 0 && (operator.equals("/") || operator.equals("//") || operator.equals("%"))) {
      throw new Failure("division by zero");
    }
    try {
      return switch (operator) {
        case "+" -> Math.addExact(left, right);
        case "-" -> Math.subtractExact(left, right);
        case "*" -> Math.multiplyExact(left, right);
        case "/" -> (double) left / right;
        case "//" ->
            left == Long.MIN_VALUE && right == -1
                ? Math.negateExact(left)
                : Math.floorDiv(left, right);
        case "%" -> Math.floorMod(left, right);
        default -> right < 0 ? real("**", left, right) : power(left, right);
      };
    } catch (ArithmeticException e) {
      throw new Failure("ints beyond 64 bits are not supported: " + left + operator + right);
    }
  }

  private static Object power(long base, long exponent) {
    long result = 1;
    long factor = base;
    for (long left = exponent; left > 0; left >>= 1) {
      if ((left & 1) == 1) {
        result = Math.multiplyExact(result, factor);
      }
      if (left > 1) {
        factor = Math.abs(factor) <= 1 ? factor * factor : Math.multiplyExact(factor, factor);
      }
    }
    return result;
  }

  private static Object real(String operator, double left, double right) {
    if (right == 0 && (operator.equals("/") || operator.equals("//") || operator.equals("%"))) {
      throw new Failure("division by zero");
    }
    switch (operator) {
      case "+":
        return left + right;
      case "-":
        return left - right;
      case "*":
        return left * right;
      case "/":
        return left / right;
      case "//":
        return Math.floor(left / right);
      case "%":
        double rest = left % right;
        return rest != 0 && rest < 0 != right < 0 ? rest + right : rest;
      default:
        double power = Math.pow(left, right);
        if (left == 0 && right < 0 || Double.isNaN(power) && left < 0) {
          throw new Failure(left + " ** " + right + " is no real number");
        }
        return power;
    }
  }

  static Object sign(boolean negative, Object value) {
    if (value instanceof Undefined undefined) {
      throw undefined.failure();
    }
    if (value instanceof Double number) {
      return negative ? -number : number;
    }
    if (isWhole(value)) {
      long number = Values.integer(value, "a sign");
      return negative ? whole("-", 0, number) : (Object) number;
    }
    throw new Failure("'" + Values.typeName(value) + "' has no sign");
  }

  static boolean isWhole(Object value) {
    return value instanceof Long || value instanceof Boolean;
  }

  static boolean isNumber(Object value) {
    return isWhole(value) || value instanceof Double;
  }

  static double number(Object value) {
    if (value instanceof Double number) {
      return number;
    }
    return Values.integer(value, "a number");
  }

  static boolean compare(Engine engine, String operator, Object left, Object right) {
    switch (operator) {
      case "==":
        return equal(engine, left, right);
      case "!=":
        return !equal(engine, left, right);
      case "in":
        return contains(engine, right, left);
      case "not in":
        return !contains(engine, right, left);
      default:
        if (left instanceof Double a && a.isNaN() || right instanceof Double b && b.isNaN()) {
          return false;
        }
        int order = order(engine, left, right, operator);
        return switch (operator) {
          case "<" -> order < 0;
          case "<=" -> order <= 0;
          case ">" -> order > 0;
          default -> order >= 0;
        };
    }
  }

  static boolean equal(Engine engine, Object left, Object right) {
    engine.budget().spend(1);
    if (left instanceof String a && right instanceof String b) {
      return engine.read(a).equals(b);
    }
    if (isNumber(left) && isNumber(right)) {
      return left instanceof Double || right instanceof Double
          ? number(left) == number(right)
          : Values.integer(left, "==") == Values.integer(right, "==");
    }
    if (left instanceof Undefined && right instanceof Undefined || left == right) {
      return true;
    }
    List<Object> first = Values.sequence(left);
    List<Object> second = Values.sequence(right);
    if (first != null && second != null) {
      return left instanceof Tuple == right instanceof Tuple
          && first.size() == second.size()
          && difference(engine, first, second) < 0;
    }
    if (left instanceof Dict a && right instanceof Dict b) {
      return a.size() == b.size() && sameEntries(engine, a, b);
    }
    return left instanceof Range && left.equals(right);
  }

  /** Where two lists differ first, up to the end of the shorter; -1 if they do not. */
  private static int difference(Engine engine, List<Object> left, List<Object> right) {
    engine.budget().enter();
    int found = -1;
    for (int i = 0; found < 0 && i < Math.min(left.size(), right.size()); i++) {
      found = equal(engine, left.get(i), right.get(i)) ? -1 : i;
    }
    engine.budget().leave();
    return found;
  }

  private static boolean sameEntries(Engine engine, Dict left, Dict right) {
    engine.budget().enter();
    for (Map.Entry<Object, Object> entry : left.entries()) {
      Object other = right.get(entry.getKey());
      if (other == null || !equal(engine, entry.getValue(), other)) {
        engine.budget().leave();
        return false;
      }
    }
    engine.budget().leave();
    return true;
  }

  static int order(Engine engine, Object left, Object right, String operator) {
    engine.budget().spend(1);
    for (Object side : List.of(left, right)) {
      if (side instanceof Undefined undefined) {
        throw undefined.failure();
      }
    }
    if (isNumber(left) && isNumber(right)) {
      return left instanceof Double || right instanceof Double
          ? Double.compare(number(left) + 0.0, number(right) + 0.0)
          : Long.compare(Values.integer(left, operator), Values.integer(right, operator));
    }
    if (left instanceof String a && right instanceof String b) {
      return Text.compare(engine.read(a), b);
    }
    List<Object> first = Values.sequence(left);
    List<Object> second = Values.sequence(right);
    if (first == null || second == null || left instanceof Tuple != right instanceof Tuple) {
      throw new Failure(
          "'"
              + operator
              + "' is not supported between '"
              + Values.typeName(left)
              + "' and '"
              + Values.typeName(right)
              + "'");
    }
    int at = difference(engine, first, second);
    if (at < 0) {
      return Integer.compare(first.size(), second.size());
    }
    engine.budget().enter();
    int order = order(engine, first.get(at), second.get(at), operator);
    engine.budget().leave();
    return order;
  }

  static boolean contains(Engine engine, Object container, Object value) {
    if (container instanceof String text) {
      if (value instanceof String part) {
        return engine.read(text).contains(engine.read(part));
      }
      throw new Failure("'in' over a str needs a str on its left, not " + Values.typeName(value));
    }
    if (container instanceof Dict dict) {
      return dict.has(value);
    }
    if (container instanceof DictView view && view.kind() == DictView.Kind.KEYS) {
      return view.dict().has(value);
    }
    if (container instanceof Range range && value instanceof Long number) {
      return range.has(number);
    }
    if (!Values.isIterable(container)) {
      throw new Failure("'in' needs a container, but got '" + Values.typeName(container) + "'");
    }
    Iterator<Object> elements = Values.iterate(engine, container);
    while (elements.hasNext()) {
      if (equal(engine, elements.next(), value)) {
        return true;
      }
    }
    return false;
  }
}
