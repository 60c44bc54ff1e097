package io.peft4j.models.jinja;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;

/** The filters over texts. Values of other types are printed first. */
final class TextFilters {
  static final Map<String, Function> ALL =
      Map.ofEntries(
          change("lower", Text::lower),
          change("upper", Text::upper),
          change("capitalize", Text::capitalize),
          change("title", TextFilters::title),
          change("string", text -> text),
          mark("safe", text -> text),
          mark("e", Markup::escape),
          mark("escape", Markup::escape),
          mark("forceescape", Markup::escape),
          Map.entry("trim", TextFilters::trim),
          Map.entry("replace", TextFilters::replace),
          Map.entry("indent", TextFilters::indent),
          Map.entry("wordcount", TextFilters::wordCount),
          Map.entry("format", TextFilters::format),
          Map.entry("center", TextFilters::center),
          Map.entry("tojson", JsonText::filter));

  private TextFilters() {}

  private static Map.Entry<String, Function> change(String name, UnaryOperator<String> change) {
    return Map.entry(
        name,
        (engine, arguments) -> {
          String text = Printer.text(engine, arguments.bind(name, "value").get(0));
          return engine.made(change.apply(text));
        });
  }

  private static Map.Entry<String, Function> mark(String name, UnaryOperator<String> change) {
    Function plain = change(name, change).getValue();
    return Map.entry(
        name, (engine, arguments) -> new Markup((String) plain.call(engine, arguments)));
  }

  /** A letter after white space or an opening bracket or dash in upper case, the rest in lower. */
  private static String title(String text) {
    StringBuilder out = new StringBuilder(text.length());
    int start = 0;
    for (int i = 0; i <= text.length(); i++) {
      char c = i < text.length() ? text.charAt(i) : ' ';
      if (i == text.length() || Text.isSpace(c) || "-({[<".indexOf(c) >= 0) {
        if (i > start) {
          int first = text.offsetByCodePoints(start, 1);
          out.append(Text.upper(text.substring(start, first)));
          out.append(Text.lower(text.substring(first, i)));
        }
        out.append(text, i, Math.min(i + 1, text.length()));
        start = i + 1;
      }
    }
    return out.toString();
  }

  private static Object trim(Engine engine, Arguments arguments) {
    Arguments.Bound given = arguments.bind("trim", "value", "chars?");
    String text = Printer.text(engine, given.get(0));
    String characters = given.optionalString(1);
    if (characters != null) {
      engine.budget().spend((long) characters.length() * text.length() / 64);
    }
    return Text.strip(text, characters, true, true);
  }

  private static Object replace(Engine engine, Arguments arguments) {
    Arguments.Bound given = arguments.bind("replace", "s", "old", "new", "count?");
    Object count = given.get(3, None.NONE);
    return TextMethods.replace(
        engine,
        Printer.text(engine, given.get(0)),
        Printer.text(engine, given.get(1)),
        Printer.text(engine, given.get(2)),
        count == None.NONE ? -1 : Values.integer(count, "replace"));
  }

  private static Object indent(Engine engine, Arguments arguments) {
    Arguments.Bound given = arguments.bind("indent", "s", "width?", "first?", "blank?");
    Object width = given.get(1, 4L);
    String indent;
    if (width instanceof String text) {
      indent = text;
    } else {
      long count = Values.integer(width, "indent");
      engine.budget().characters(count);
      indent = " ".repeat((int) Math.max(0, count));
    }
    if (given.get(0) instanceof Undefined undefined) {
      throw undefined.failure();
    }
    List<Object> lines = Text.lines(given.string(0) + "\n", false);
    engine.budget().characters((long) lines.size() * indent.length());
    List<String> out = new ArrayList<>(lines.size());
    for (int i = 0; i < lines.size(); i++) {
      String line = (String) lines.get(i);
      boolean indented = i == 0 ? given.truth(2) : given.truth(3) || !line.isEmpty();
      out.add(indented ? indent + line : line);
    }
    return engine.made(String.join("\n", out));
  }

  private static Object wordCount(Engine engine, Arguments arguments) {
    String text = Printer.text(engine, arguments.bind("wordcount", "s").get(0));
    long words = 0;
    boolean inside = false;
    for (int i = 0; i < text.length(); i++) {
      boolean letter = text.charAt(i) == '_' || Character.isLetterOrDigit(text.charAt(i));
      words += letter && !inside ? 1 : 0;
      inside = letter;
    }
    return words;
  }

  private static Object format(Engine engine, Arguments arguments) {
    if (arguments.positional().isEmpty()) {
      throw new Failure("format needs a text");
    }
    String pattern = Printer.text(engine, arguments.positional().get(0));
    Arguments rest = arguments.without(1);
    if (!rest.positional().isEmpty() && !rest.named().isEmpty()) {
      throw new Failure("format takes values by place or by name, not both");
    }
    Object values = new Tuple(rest.positional());
    if (!rest.named().isEmpty()) {
      Dict named = new Dict();
      rest.named().forEach(named::put);
      values = named;
    }
    return engine.made(Formatter.percent(engine, pattern, values));
  }

  private static Object center(Engine engine, Arguments arguments) {
    Arguments.Bound given = arguments.bind("center", "value", "width?");
    String text = Printer.text(engine, given.get(0));
    return Formatter.pad(engine, text, given.integer(1, 80), " ", '^');
  }
}
