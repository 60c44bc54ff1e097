package io.peft4j.models.jinja;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** The filters over lists, dicts and whatever else has elements. */
final class SequenceFilters {
  static final Map<String, Function> ALL =
      Map.ofEntries(
          Map.entry("length", SequenceFilters::length),
          Map.entry("count", SequenceFilters::length),
          Map.entry("default", SequenceFilters::orDefault),
          Map.entry("d", SequenceFilters::orDefault),
          Map.entry("attr", SequenceFilters::attribute),
          Map.entry("first", SequenceFilters::first),
          Map.entry("last", SequenceFilters::last),
          Map.entry("list", SequenceFilters::list),
          Map.entry("join", SequenceFilters::join),
          Map.entry("reverse", SequenceFilters::reverse),
          Map.entry("items", SequenceFilters::items),
          Map.entry("dictsort", SequenceFilters::sortDict),
          Map.entry("sort", SequenceFilters::sort),
          Map.entry("unique", SequenceFilters::unique),
          Map.entry("min", (engine, arguments) -> extreme(engine, "min", arguments)),
          Map.entry("max", (engine, arguments) -> extreme(engine, "max", arguments)),
          Map.entry("sum", SequenceFilters::sum),
          Map.entry("map", Selection::map),
          Map.entry("select", (e, a) -> Selection.select(e, "select", a, true, false)),
          Map.entry("reject", (e, a) -> Selection.select(e, "reject", a, false, false)),
          Map.entry("selectattr", (e, a) -> Selection.select(e, "selectattr", a, true, true)),
          Map.entry("rejectattr", (e, a) -> Selection.select(e, "rejectattr", a, false, true)));

  private SequenceFilters() {}

  private static Object length(Engine engine, Arguments arguments) {
    return Values.length(engine, arguments.bind("length", "value").get(0));
  }

  private static Object orDefault(Engine engine, Arguments arguments) {
    Arguments.Bound given = arguments.bind("default", "value", "default_value?", "boolean?");
    Object value = given.get(0);
    boolean missing = value instanceof Undefined || given.truth(2) && !Values.truth(value);
    return missing ? given.get(1, "") : value;
  }

  /** Attributes only, no keys. */
  private static Object attribute(Engine engine, Arguments arguments) {
    Arguments.Bound given = arguments.bind("attr", "obj", "name");
    Object value = given.get(0);
    String name = given.string(1);
    if (value instanceof Dict && Methods.find(value, name) == null && !name.startsWith("__")) {
      return Undefined.member(value, name);
    }
    return Values.attribute(engine, value, name);
  }

  private static Object first(Engine engine, Arguments arguments) {
    Iterator<Object> elements = Values.iterate(engine, arguments.bind("first", "seq").get(0));
    return elements.hasNext()
        ? elements.next()
        : Undefined.because("there is no first item, the sequence is empty");
  }

  private static Object last(Engine engine, Arguments arguments) {
    Object value = arguments.bind("last", "seq").get(0);
    if (value instanceof Stream) {
      throw new Failure("'generator' object has no last item: make it a list first");
    }
    List<Object> items = Values.list(engine, value);
    return items.isEmpty()
        ? Undefined.because("there is no last item, the sequence is empty")
        : items.get(items.size() - 1);
  }

  private static Object list(Engine engine, Arguments arguments) {
    return Values.list(engine, arguments.bind("list", "value").get(0));
  }

  private static Object join(Engine engine, Arguments arguments) {
    Arguments.Bound given = arguments.bind("join", "value", "d?", "attribute?");
    Member member = Member.of(engine, given.get(2, None.NONE));
    List<Object> texts = new ArrayList<>();
    Values.iterate(engine, given.get(0))
        .forEachRemaining(item -> texts.add(Printer.text(engine, member.of(item))));
    String separator = Printer.text(engine, given.get(1, ""));
    Object method = TextMethods.find(separator, "join");
    return engine.call(method == null ? None.NONE : method, Arguments.of(texts));
  }

  private static Object reverse(Engine engine, Arguments arguments) {
    Object value = arguments.bind("reverse", "value").get(0);
    if (value instanceof String text) {
      return new StringBuilder(text).reverse().toString();
    }
    List<Object> items = Values.list(engine, value);
    Collections.reverse(items);
    return value instanceof Stream ? items : new Stream(items.iterator());
  }

  private static Object items(Engine engine, Arguments arguments) {
    Object value = arguments.bind("items", "value").get(0);
    if (value instanceof Undefined) {
      return new Stream(Collections.emptyIterator());
    }
    if (value instanceof Dict dict) {
      return new Stream(Values.iterate(engine, new DictView(DictView.Kind.ITEMS, dict)));
    }
    throw new Failure("items needs a dict, not " + Values.typeName(value));
  }

  private static Object sortDict(Engine engine, Arguments arguments) {
    Arguments.Bound given =
        arguments.bind("dictsort", "value", "case_sensitive?", "by?", "reverse?");
    if (!(given.get(0) instanceof Dict dict)) {
      throw new Failure("dictsort needs a dict, not " + Values.typeName(given.get(0)));
    }
    String by = given.has(2) ? given.string(2) : "key";
    if (!by.equals("key") && !by.equals("value")) {
      throw new Failure("dictsort: 'by' must be key or value");
    }
    boolean exact = given.truth(1);
    int place = by.equals("key") ? 0 : 1;
    return sorted(
        engine,
        dict.items(),
        item -> folded(Values.item(engine, item, (long) place), exact),
        given.truth(3));
  }

  private static Object sort(Engine engine, Arguments arguments) {
    Arguments.Bound given =
        arguments.bind("sort", "value", "reverse?", "case_sensitive?", "attribute?");
    boolean exact = given.truth(2);
    Object attribute = given.get(3, None.NONE);
    List<Member> members = new ArrayList<>();
    if (attribute instanceof String names) {
      for (Object name : Text.split(names, ",", -1, false)) {
        members.add(Member.of(engine, name));
      }
    } else {
      members.add(Member.of(engine, attribute));
    }
    java.util.function.Function<Object, Object> key =
        item -> members.stream().map(member -> folded(member.of(item), exact)).toList();
    return sorted(engine, Values.list(engine, given.get(0)), key, given.truth(1));
  }

  static List<Object> sorted(
      Engine engine,
      List<Object> items,
      java.util.function.Function<Object, Object> key,
      boolean reverse) {
    List<Object[]> keyed = new ArrayList<>(items.size());
    items.forEach(item -> keyed.add(new Object[] {key.apply(item), item}));
    Comparator<Object[]> order = (a, b) -> Operators.order(engine, a[0], b[0], "<");
    try {
      keyed.sort(reverse ? order.reversed() : order);
    } catch (IllegalArgumentException e) {
      // Ints beyond 53 bits beside floats: a equals b, b equals c, and yet a is less than c.
      throw new Failure("these numbers cannot be put in order");
    }
    List<Object> sorted = new ArrayList<>(items.size());
    keyed.forEach(pair -> sorted.add(pair[1]));
    return sorted;
  }

  private static Object folded(Object value, boolean exact) {
    return !exact && value instanceof String text ? Text.lower(text) : value;
  }

  private static Object unique(Engine engine, Arguments arguments) {
    Arguments.Bound given = arguments.bind("unique", "value", "case_sensitive?", "attribute?");
    boolean exact = given.truth(1);
    Member member = Member.of(engine, given.get(2, None.NONE));
    Set<Object> seen = new HashSet<>();
    return new Stream(
        Streams.filter(
            Values.iterate(engine, given.get(0)),
            item -> seen.add(Dict.canonical(folded(member.of(item), exact)))));
  }

  private static Object extreme(Engine engine, String name, Arguments arguments) {
    Arguments.Bound given = arguments.bind(name, "value", "case_sensitive?", "attribute?");
    boolean exact = given.truth(1);
    Member member = Member.of(engine, given.get(2, None.NONE));
    Iterator<Object> items = Values.iterate(engine, given.get(0));
    if (!items.hasNext()) {
      return Undefined.because("there is no " + name + ", the sequence is empty");
    }
    Object best = items.next();
    Object bestKey = folded(member.of(best), exact);
    while (items.hasNext()) {
      Object item = items.next();
      Object key = folded(member.of(item), exact);
      int order = Operators.order(engine, key, bestKey, name.equals("min") ? "<" : ">");
      if (name.equals("min") ? order < 0 : order > 0) {
        best = item;
        bestKey = key;
      }
    }
    return best;
  }

  private static Object sum(Engine engine, Arguments arguments) {
    Arguments.Bound given = arguments.bind("sum", "iterable", "attribute?", "start?");
    Member member = Member.of(engine, given.get(1, None.NONE));
    Object total = given.get(2, 0L);
    if (total instanceof String) {
      throw new Failure("sum does not add texts: use join");
    }
    Iterator<Object> items = Values.iterate(engine, given.get(0));
    while (items.hasNext()) {
      total = Operators.binary(engine, "+", total, member.of(items.next()));
    }
    return total;
  }
}
