package io.peft4j.models.jinja;

import com.fasterxml.jackson.databind.node.DoubleNode;
import io.peft4j.state.Json;
import java.util.List;
import java.util.Map;

/** Python's {@code str()} and {@code repr()}. */
final class Printer {
  private Printer() {}

  /** {@code str(value)}. */
  static String text(Engine engine, Object value) {
    if (value instanceof String text) {
      return text;
    }
    if (value instanceof Markup markup) {
      return markup.text();
    }
    if (value instanceof Undefined) {
      return "";
    }
    return repr(engine, value);
  }

  /** {@code repr(value)}. */
  static String repr(Engine engine, Object value) {
    StringBuilder out = new StringBuilder();
    write(engine, out, value);
    return engine.made(out.toString());
  }

  /** {@code repr} of a key, cut to a length fit for a message. */
  static String shortText(Object value) {
    StringBuilder out = new StringBuilder();
    if (value instanceof String text) {
      quote(out, text.length() > 100 ? text.substring(0, 100) + "..." : text);
    } else if (Operators.isNumber(value)) {
      out.append(scalar(value));
    } else {
      out.append(Values.typeName(value));
    }
    return out.toString();
  }

  private static void write(Engine engine, StringBuilder out, Object value) {
    Budget budget = engine.budget();
    budget.spend(1);
    budget.enter();
    // What is written is paid for as it grows: shared lists in lists print larger than they are.
    if (out.length() > Budget.MAX_TEXT) {
      budget.characters(out.length());
    }
    if (Markup.plain(value) instanceof String text) {
      budget.text(text);
      quote(out, text);
    } else if (value instanceof Dict dict) {
      writeDict(engine, out, dict);
    } else if (value instanceof Namespace namespace) {
      out.append("<Namespace ");
      writeDict(engine, out, namespace.attributes());
      out.append('>');
    } else if (value instanceof DictView view) {
      out.append(Values.typeName(value)).append('(');
      budget.elements(view.dict().size());
      writeAll(engine, out, "[", view.elements(), "])");
    } else if (value instanceof Tuple tuple) {
      writeAll(engine, out, "(", tuple.items(), tuple.items().size() == 1 ? ",)" : ")");
    } else if (value instanceof Range range) {
      out.append("range(").append(range.start()).append(", ").append(range.stop());
      out.append(range.step() == 1 ? ")" : ", " + range.step() + ")");
    } else {
      List<Object> items = Values.sequence(value);
      if (items == null) {
        out.append(scalar(value));
      } else {
        writeAll(engine, out, "[", items, "]");
      }
    }
    budget.leave();
  }

  private static void writeAll(
      Engine engine, StringBuilder out, String open, List<Object> items, String close) {
    out.append(open);
    for (int i = 0; i < items.size(); i++) {
      out.append(i == 0 ? "" : ", ");
      write(engine, out, items.get(i));
    }
    out.append(close);
  }

  private static void writeDict(Engine engine, StringBuilder out, Dict dict) {
    out.append('{');
    String separator = "";
    for (Map.Entry<Object, Object> entry : dict.entries()) {
      out.append(separator);
      write(engine, out, entry.getKey());
      out.append(": ");
      write(engine, out, entry.getValue());
      separator = ", ";
    }
    out.append('}');
  }

  private static String scalar(Object value) {
    if (value == None.NONE) {
      return "None";
    }
    if (value instanceof Boolean flag) {
      return flag ? "True" : "False";
    }
    if (value instanceof Long number) {
      return Long.toString(number);
    }
    if (value instanceof Double number) {
      return real(number);
    }
    // Python prints an address here, which nobody can rely on.
    return value instanceof Undefined ? "Undefined" : "<" + Values.typeName(value) + ">";
  }

  /** The shortest digits that read back as the same number. */
  static String real(double number) {
    if (Double.isNaN(number)) {
      return "nan";
    }
    if (Double.isInfinite(number)) {
      return number > 0 ? "inf" : "-inf";
    }
    return Json.toPythonString(DoubleNode.valueOf(number));
  }

  private static void quote(StringBuilder out, String text) {
    char mark = text.indexOf('\'') >= 0 && text.indexOf('"') < 0 ? '"' : '\'';
    out.append(mark);
    text.codePoints().forEach(point -> quote(out, point, mark));
    out.append(mark);
  }

  private static void quote(StringBuilder out, int point, char mark) {
    switch (point) {
      case '\n' -> out.append("\\n");
      case '\r' -> out.append("\\r");
      case '\t' -> out.append("\\t");
      case '\\' -> out.append("\\\\");
      default -> {
        if (point == mark) {
          out.append('\\').append(mark);
        } else if (isPrintable(point)) {
          out.appendCodePoint(point);
        } else {
          out.append(
              point < 0x100
                  ? String.format("\\x%02x", point)
                  : String.format(point < 0x10000 ? "\\u%04x" : "\\U%08x", point));
        }
      }
    }
  }

  private static boolean isPrintable(int point) {
    if (point == ' ') {
      return true;
    }
    return switch (Character.getType(point)) {
      case Character.CONTROL,
          Character.FORMAT,
          Character.SURROGATE,
          Character.PRIVATE_USE,
          Character.UNASSIGNED,
          Character.LINE_SEPARATOR,
          Character.PARAGRAPH_SEPARATOR,
          Character.SPACE_SEPARATOR ->
          false;
      default -> true;
    };
  }
}
