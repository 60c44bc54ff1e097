package io.peft4j.models.jinja;

import io.peft4j.state.Json;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Python's {@code json.dumps}, as the filter {@code tojson} of transformers calls it. */
final class JsonText {
  private final Engine engine;
  private final boolean ascii;
  private final @Nullable String indent;
  private final String itemSeparator;
  private final String keySeparator;
  private final boolean sorted;
  private final StringBuilder out = new StringBuilder();

  private JsonText(Engine engine, Arguments.Bound options) {
    this.engine = engine;
    ascii = options.truth(1);
    Object width = options.get(2, None.NONE);
    indent =
        width == None.NONE
            ? null
            : width instanceof String text
                ? text
                : spaces(engine, Values.integer(width, "tojson: indent"));
    List<Object> separators = Values.sequence(options.get(3, None.NONE));
    if (separators == null) {
      itemSeparator = indent == null ? ", " : ",";
      keySeparator = ": ";
    } else if (separators.size() == 2
        && separators.get(0) instanceof String item
        && separators.get(1) instanceof String key) {
      itemSeparator = item;
      keySeparator = key;
    } else {
      throw new Failure("tojson: separators must be two texts");
    }
    sorted = options.truth(4);
  }

  private static String spaces(Engine engine, long count) {
    engine.budget().characters(count);
    return " ".repeat((int) Math.max(0, count));
  }

  static Object filter(Engine engine, Arguments arguments) {
    Arguments.Bound options =
        arguments.bind("tojson", "value", "ensure_ascii?", "indent?", "separators?", "sort_keys?");
    JsonText json = new JsonText(engine, options);
    json.write(options.get(0), 0);
    return engine.made(json.out.toString());
  }

  private void write(Object value, int level) {
    Budget budget = engine.budget();
    budget.spend(1);
    budget.enter();
    if (out.length() > Budget.MAX_TEXT) {
      budget.characters(out.length());
    }
    List<Object> items = Values.sequence(value);
    if (value instanceof String text) {
      budget.text(text);
      Json.quote(out, text, ascii);
    } else if (value instanceof Dict dict) {
      writeDict(dict, level);
    } else if (items != null) {
      for (int i = 0; i < items.size(); i++) {
        separate(i == 0 ? "[" : itemSeparator, level + 1);
        write(items.get(i), level + 1);
      }
      close(items.isEmpty(), "[", "]", level);
    } else {
      out.append(scalar(value));
    }
    budget.leave();
  }

  private void writeDict(Dict dict, int level) {
    List<Map.Entry<Object, Object>> entries = new ArrayList<>(dict.entries());
    if (sorted) {
      List<Object> keys = SequenceFilters.sorted(engine, dict.keys(), key -> key, false);
      entries.clear();
      keys.forEach(key -> entries.add(Map.entry(key, Objects.requireNonNull(dict.get(key)))));
    }
    for (int i = 0; i < entries.size(); i++) {
      separate(i == 0 ? "{" : itemSeparator, level + 1);
      Object key = entries.get(i).getKey();
      Json.quote(out, key instanceof String text ? text : scalar(key), ascii);
      out.append(keySeparator);
      write(entries.get(i).getValue(), level + 1);
    }
    close(entries.isEmpty(), "{", "}", level);
  }

  private void separate(String text, int level) {
    out.append(text);
    if (indent != null) {
      // Paid here, as a wide indent on many levels is more text than the values.
      engine.budget().characters((long) indent.length() * level);
      out.append('\n').append(indent.repeat(level));
    }
  }

  private void close(boolean empty, String open, String close, int level) {
    if (empty) {
      out.append(open).append(close);
    } else {
      separate("", level);
      out.append(close);
    }
  }

  private static String scalar(Object value) {
    if (value == None.NONE) {
      return "null";
    }
    if (value instanceof Boolean flag) {
      return flag.toString();
    }
    if (value instanceof Long number) {
      return number.toString();
    }
    if (value instanceof Double number) {
      return Double.isNaN(number)
          ? "NaN"
          : Double.isInfinite(number)
              ? number > 0 ? "Infinity" : "-Infinity"
              : Printer.real(number);
    }
    throw new Failure("tojson: a value of type " + Values.typeName(value) + " has no JSON form");
  }
}
