package io.peft4j.models.jinja;

import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import java.util.function.IntPredicate;
import java.util.function.Predicate;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** The methods of Python's str that a template may call. */
final class TextMethods {
  /** A method that has been given its text. */
  private interface Method {
    Object call(Engine engine, String text, Arguments arguments);
  }

  private static final Map<String, Method> METHODS =
      Map.ofEntries(
          change("upper", Text::upper),
          change("lower", Text::lower),
          change("casefold", text -> Text.lower(Text.upper(text))),
          change("title", Text::title),
          change("capitalize", Text::capitalize),
          change("swapcase", Text::swapCase),
          test("isdigit", text -> Text.all(text, TextMethods::isDigit)),
          test("isdecimal", text -> Text.all(text, Character::isDigit)),
          test("isnumeric", text -> Text.all(text, TextMethods::isNumeric)),
          test("isalpha", text -> Text.all(text, Character::isLetter)),
          test("isalnum", text -> Text.all(text, TextMethods::isAlphanumeric)),
          test("isspace", text -> Text.all(text, Text::isSpace)),
          test("isascii", text -> text.chars().allMatch(c -> c < 128)),
          test("isupper", text -> Text.allCased(text, Character::isUpperCase)),
          test("islower", text -> Text.allCased(text, Character::isLowerCase)),
          test("istitle", text -> text.equals(Text.title(text)) && Text.allCased(text, c -> true)),
          test("isidentifier", TextMethods::isIdentifier),
          strip("strip", true, true),
          strip("lstrip", true, false),
          strip("rstrip", false, true),
          split("split", false),
          split("rsplit", true),
          partition("partition", String::indexOf),
          partition("rpartition", String::lastIndexOf),
          Map.entry("splitlines", TextMethods::splitLines),
          ends("startswith", String::startsWith),
          ends("endswith", String::endsWith),
          cut("removeprefix", (text, part) -> text.startsWith(part) ? part.length() : 0, true),
          cut("removesuffix", (text, part) -> text.endsWith(part) ? part.length() : 0, false),
          Map.entry("replace", TextMethods::replace),
          find("find", String::indexOf, false),
          find("rfind", String::lastIndexOf, false),
          find("index", String::indexOf, true),
          find("rindex", String::lastIndexOf, true),
          Map.entry("count", TextMethods::count),
          Map.entry("join", TextMethods::join),
          Map.entry("format", Formatter::format),
          Map.entry("zfill", TextMethods::zeroFill),
          pad("ljust", '<'),
          pad("rjust", '>'),
          pad("center", '^'));

  private TextMethods() {}

  static @Nullable Function find(String text, String name) {
    Method method = METHODS.get(name);
    return method == null
        ? null
        : (engine, arguments) -> {
          engine.read(text);
          Object result = method.call(engine, text, arguments);
          return result instanceof String made ? engine.made(made) : result;
        };
  }

  private static Map.Entry<String, Method> change(String name, UnaryOperator<String> change) {
    return Map.entry(
        name,
        (engine, text, arguments) -> {
          arguments.bind(name);
          return change.apply(text);
        });
  }

  private static Map.Entry<String, Method> test(String name, Predicate<String> test) {
    return Map.entry(
        name,
        (engine, text, arguments) -> {
          arguments.bind(name);
          return test.test(text);
        });
  }

  private static Map.Entry<String, Method> strip(String name, boolean left, boolean right) {
    return Map.entry(
        name,
        (engine, text, arguments) -> {
          String characters = arguments.bind(name, "chars?").optionalString(0);
          if (characters != null) {
            engine.budget().spend((long) characters.length() * text.length() / 64);
          }
          return Text.strip(text, characters, left, right);
        });
  }

  private static Map.Entry<String, Method> split(String name, boolean right) {
    return Map.entry(
        name,
        (engine, text, arguments) -> {
          Arguments.Bound given = arguments.bind(name, "sep?", "maxsplit?");
          List<Object> parts =
              Text.split(text, given.optionalString(0), given.integer(1, -1), right);
          engine.budget().elements(parts.size());
          return parts;
        });
  }

  private static Object splitLines(Engine engine, String text, Arguments arguments) {
    List<Object> lines = Text.lines(text, arguments.bind("splitlines", "keepends?").truth(0));
    engine.budget().elements(lines.size());
    return lines;
  }

  private static Map.Entry<String, Method> partition(
      String name, BiFunction<String, String, Integer> find) {
    return Map.entry(
        name,
        (engine, text, arguments) -> {
          String separator = arguments.bind(name, "sep").string(0);
          if (separator.isEmpty()) {
            throw new Failure(name + ": the separator must not be empty");
          }
          int at = find.apply(text, separator);
          if (at < 0) {
            return name.equals("partition") ? Tuple.of(text, "", "") : Tuple.of("", "", text);
          }
          String after = text.substring(at + separator.length());
          return Tuple.of(text.substring(0, at), separator, after);
        });
  }

  private static Map.Entry<String, Method> ends(
      String name, java.util.function.BiPredicate<String, String> test) {
    return Map.entry(
        name,
        (engine, text, arguments) -> {
          Arguments.Bound given = arguments.bind(name, "prefix", "start?", "end?");
          Object start = given.get(1, None.NONE);
          Object end = given.get(2, None.NONE);
          String part =
              start == None.NONE && end == None.NONE
                  ? text
                  : (String) Values.slice(engine, text, start, end, None.NONE);
          Object wanted = given.get(0);
          List<Object> all =
              wanted instanceof Tuple tuple ? tuple.items() : List.of(given.string(0));
          engine.budget().elements(all.size());
          return all.stream().anyMatch(one -> one instanceof String s && test.test(part, s));
        });
  }

  private static Map.Entry<String, Method> cut(
      String name, BiFunction<String, String, Integer> length, boolean front) {
    return Map.entry(
        name,
        (engine, text, arguments) -> {
          int off = length.apply(text, arguments.bind(name, "part").string(0));
          return front ? text.substring(off) : text.substring(0, text.length() - off);
        });
  }

  private static Object replace(Engine engine, String text, Arguments arguments) {
    Arguments.Bound given = arguments.bind("replace", "old", "new", "count?");
    return replace(engine, text, given.string(0), given.string(1), given.integer(2, -1));
  }

  /** Python's replace: an empty text is found between all characters. */
  static String replace(Engine engine, String text, String old, String with, long most) {
    StringBuilder out = new StringBuilder();
    long left = most < 0 ? Long.MAX_VALUE : most;
    int start = 0;
    int at = text.indexOf(old);
    while (at >= 0 && left-- > 0) {
      grow(engine, out, with);
      out.append(text, start, at).append(with);
      start = at + old.length();
      if (old.isEmpty()) {
        if (at >= text.length()) {
          break;
        }
        int next = text.offsetByCodePoints(at, 1);
        if (left == 0) {
          break;
        }
        out.append(text, at, next);
        start = next;
        at = next;
      } else {
        at = text.indexOf(old, start);
      }
    }
    return out.append(text, Math.min(start, text.length()), text.length()).toString();
  }

  /** Pays for one more part, before it is there. */
  private static void grow(Engine engine, StringBuilder out, String part) {
    engine.budget().spend(1);
    engine.budget().text(part);
    if ((long) out.length() + part.length() > Budget.MAX_TEXT) {
      engine.budget().characters((long) out.length() + part.length());
    }
  }

  private static Map.Entry<String, Method> find(
      String name, BiFunction<String, String, Integer> find, boolean required) {
    return Map.entry(
        name,
        (engine, text, arguments) -> {
          Arguments.Bound given = arguments.bind(name, "sub", "start?", "end?");
          Object start = given.get(1, None.NONE);
          Object end = given.get(2, None.NONE);
          String part = (String) Values.slice(engine, text, start, end, None.NONE);
          int at = find.apply(part, given.string(0));
          if (at < 0) {
            if (required) {
              throw new Failure(name + ": the text is not in it");
            }
            return -1L;
          }
          long from = start == None.NONE ? 0 : Values.integer(start, name);
          long length = Text.length(text);
          from = Math.min(length, from < 0 ? Math.max(0, from + length) : from);
          return from + part.codePointCount(0, at);
        });
  }

  private static Object count(Engine engine, String text, Arguments arguments) {
    String part = arguments.bind("count", "sub").string(0);
    if (part.isEmpty()) {
      return (long) Text.length(text) + 1;
    }
    long count = 0;
    for (int at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length())) {
      count++;
    }
    return count;
  }

  private static Object join(Engine engine, String text, Arguments arguments) {
    StringBuilder out = new StringBuilder();
    String separator = "";
    for (Object part : Values.list(engine, arguments.bind("join", "iterable").get(0))) {
      if (!(part instanceof String more)) {
        throw new Failure("join: needs texts, not " + Values.typeName(part));
      }
      grow(engine, out, separator);
      grow(engine, out, more);
      out.append(separator).append(more);
      separator = text;
    }
    return out.toString();
  }

  private static Object zeroFill(Engine engine, String text, Arguments arguments) {
    long width = arguments.bind("zfill", "width").integer(0, 0);
    engine.budget().characters(width);
    boolean signed = text.startsWith("-") || text.startsWith("+");
    long missing = width - Text.length(text);
    String zeros = missing > 0 ? "0".repeat((int) missing) : "";
    return signed ? text.charAt(0) + zeros + text.substring(1) : zeros + text;
  }

  private static Map.Entry<String, Method> pad(String name, char align) {
    return Map.entry(
        name,
        (engine, text, arguments) -> {
          Arguments.Bound given = arguments.bind(name, "width", "fillchar?");
          String fill = given.has(1) ? given.string(1) : " ";
          if (Text.length(fill) != 1) {
            throw new Failure(name + ": needs one character to fill with");
          }
          return Formatter.pad(engine, text, given.integer(0, 0), fill, align);
        });
  }

  private static boolean isDigit(int point) {
    return Character.isDigit(point)
        || Character.getType(point) == Character.OTHER_NUMBER
            && Character.getNumericValue(point) >= 0
            && Character.getNumericValue(point) < 10;
  }

  private static boolean isNumeric(int point) {
    int type = Character.getType(point);
    return Character.isDigit(point)
        || type == Character.OTHER_NUMBER
        || type == Character.LETTER_NUMBER;
  }

  private static boolean isAlphanumeric(int point) {
    return Character.isLetter(point) || isNumeric(point);
  }

  private static boolean isIdentifier(String text) {
    IntPredicate part = point -> point == '_' || Character.isUnicodeIdentifierPart(point);
    return Text.all(text, part)
        && (text.charAt(0) == '_' || Character.isUnicodeIdentifierStart(text.codePointAt(0)));
  }
}
