package io.peft4j.models.jinja;

/** Python's {@code str.format} and {@code %}. */
final class Formatter {
  private Formatter() {}

  static String pad(Engine engine, String text, long width, String fill, char align) {
    engine.budget().characters(width);
    int missing = (int) (width - Text.length(text));
    if (missing <= 0) {
      return text;
    }
    int left = align == '<' ? 0 : align == '>' ? missing : missing / 2;
    if (align == '^' && missing % 2 == 1 && width % 2 == 1) {
      // str.center puts the odd character to the left if the width is odd.
      left++;
    }
    return fill.repeat(left) + text + fill.repeat(missing - left);
  }

  /** {@code text.format(...)}. */
  static Object format(Engine engine, String pattern, Arguments arguments) {
    StringBuilder out = new StringBuilder();
    int automatic = 0;
    for (int i = 0; i < pattern.length(); i++) {
      char c = pattern.charAt(i);
      boolean doubled = i + 1 < pattern.length() && pattern.charAt(i + 1) == c;
      if (c != '{' && c != '}') {
        out.append(c);
      } else if (doubled) {
        out.append(c);
        i++;
      } else {
        int end = c == '{' ? pattern.indexOf('}', i) : -1;
        if (end < 0) {
          throw new Failure("format: a single '" + c + "'; write it twice, or close it");
        }
        String field = pattern.substring(i + 1, end);
        if (field.indexOf('{') >= 0) {
          throw new Failure("format: fields in fields are not supported");
        }
        if (field.isEmpty() || field.charAt(0) == ':' || field.charAt(0) == '!') {
          field = automatic++ + field;
        }
        out.append(engine.made(field(engine, field, arguments)));
        i = end;
      }
      if (out.length() > Budget.MAX_TEXT) {
        engine.budget().characters(out.length());
      }
    }
    return out.toString();
  }

  private static String field(Engine engine, String field, Arguments arguments) {
    int colon = field.indexOf(':');
    String path = colon < 0 ? field : field.substring(0, colon);
    String specification = colon < 0 ? "" : field.substring(colon + 1);
    int mark = path.indexOf('!');
    String conversion = mark < 0 ? "" : path.substring(mark + 1);
    Object value = lookup(engine, mark < 0 ? path : path.substring(0, mark), arguments);
    value =
        switch (conversion) {
          case "" -> value;
          case "s" -> Printer.text(engine, value);
          case "r" -> Printer.repr(engine, value);
          default -> throw new Failure("format: there is no conversion '" + conversion + "'");
        };
    return FormatSpecification.parse(specification).apply(engine, value);
  }

  /** Follows {@code 0}, {@code name}, {@code name.attribute}, {@code name[key]}. */
  private static Object lookup(Engine engine, String path, Arguments arguments) {
    int end = 0;
    while (end < path.length() && path.charAt(end) != '.' && path.charAt(end) != '[') {
      end++;
    }
    Object value = argument(path.substring(0, end), arguments);
    while (end < path.length()) {
      boolean key = path.charAt(end) == '[';
      int next = end + 1;
      while (next < path.length()
          && (key
              ? path.charAt(next) != ']'
              : path.charAt(next) != '.' && path.charAt(next) != '[')) {
        next++;
      }
      String name = path.substring(end + 1, next);
      value =
          !key
              ? Values.attribute(engine, value, name)
              : Values.item(engine, value, isIndex(name) ? (Object) Long.valueOf(name) : name);
      end = key ? next + 1 : next;
    }
    return value;
  }

  private static boolean isIndex(String name) {
    return name.length() < 10 && Text.all(name, point -> point >= '0' && point <= '9');
  }

  private static Object argument(String name, Arguments arguments) {
    boolean place = isIndex(name);
    int index = place ? Integer.parseInt(name) : 0;
    Object value =
        !place
            ? arguments.named().get(name)
            : index < arguments.positional().size() ? arguments.positional().get(index) : null;
    if (value == null) {
      throw new Failure("format: there is no argument '" + name + "'");
    }
    return value;
  }

  /** {@code pattern % values}. */
  static String percent(Engine engine, String pattern, Object values) {
    StringBuilder out = new StringBuilder();
    Percent state = new Percent(values);
    int at = 0;
    while (at < pattern.length()) {
      int next = pattern.indexOf('%', at);
      if (next < 0) {
        break;
      }
      out.append(pattern, at, next);
      at = state.directive(engine, pattern, next + 1, out);
      if (out.length() > Budget.MAX_TEXT) {
        engine.budget().characters(out.length());
      }
    }
    state.end();
    return out.append(pattern, at, pattern.length()).toString();
  }

  /** The values of a {@code %}, and how many have been used. */
  private static final class Percent {
    private final Object values;
    private int used;

    Percent(Object values) {
      this.values = values;
    }

    private Object next() {
      if (values instanceof Tuple tuple) {
        if (used < tuple.items().size()) {
          return tuple.items().get(used++);
        }
      } else if (used++ == 0) {
        return values;
      }
      throw new Failure("%: there are not enough values for this text");
    }

    void end() {
      boolean indexed = Values.isSequence(values) && !(values instanceof String);
      int count = values instanceof Tuple tuple ? tuple.items().size() : indexed ? 0 : 1;
      if (used < count) {
        throw new Failure("%: there are more values than this text takes");
      }
    }

    /** Writes what one directive gives; returns the place after it. */
    int directive(Engine engine, String pattern, int start, StringBuilder out) {
      int at = start;
      Object value = null;
      if (at < pattern.length() && pattern.charAt(at) == '(') {
        int end = pattern.indexOf(')', at);
        if (end < 0 || !(values instanceof Dict dict)) {
          throw new Failure("%: a name in parentheses needs a dict");
        }
        String name = pattern.substring(at + 1, end);
        value = dict.get(name);
        if (value == null) {
          throw new Failure("%: there is no '" + name + "'");
        }
        at = end + 1;
      }
      int flags = at;
      while (at < pattern.length() && "#0- +".indexOf(pattern.charAt(at)) >= 0) {
        at++;
      }
      String flag = pattern.substring(flags, at);
      int size = at;
      while (at < pattern.length() && "0123456789.".indexOf(pattern.charAt(at)) >= 0) {
        at++;
      }
      if (at == pattern.length()) {
        throw new Failure("%: a directive is not complete");
      }
      char type = pattern.charAt(at);
      if (type == '%') {
        out.append('%');
      } else {
        Object given = value == null ? next() : value;
        out.append(engine.made(write(engine, flag, pattern.substring(size, at), type, given)));
      }
      return at + 1;
    }

    private static String write(Engine engine, String flags, String size, char type, Object value) {
      String align = flags.indexOf('-') >= 0 ? "<" : flags.indexOf('0') >= 0 ? "" : ">";
      String sign = flags.indexOf('+') >= 0 ? "+" : flags.indexOf(' ') >= 0 ? " " : "";
      String zero = align.isEmpty() && "sr".indexOf(type) < 0 ? "0" : "";
      switch (type) {
        case 's', 'r', 'a' -> {
          String text = type == 's' ? Printer.text(engine, value) : Printer.repr(engine, value);
          return specification(align.isEmpty() ? ">" : align, "", "", size, 's')
              .apply(engine, text);
        }
        case 'd', 'i', 'u', 'x', 'X', 'o' -> {
          if (!Operators.isNumber(value)) {
            throw new Failure("%" + type + " needs a number, not " + Values.typeName(value));
          }
          Object whole = value instanceof Double real ? (Object) real.longValue() : value;
          char kind = type == 'i' || type == 'u' ? 'd' : type;
          return specification(align, sign, zero, size.replaceAll("\\..*", ""), kind)
              .apply(engine, whole);
        }
        case 'f', 'F', 'e', 'E', 'g', 'G' -> {
          return specification(align, sign, zero, size, type).apply(engine, value);
        }
        default -> throw new Failure("%: there is no directive '" + type + "'");
      }
    }

    private static FormatSpecification specification(
        String align, String sign, String zero, String size, char type) {
      return FormatSpecification.parse(align + sign + zero + size + type);
    }
  }
}
