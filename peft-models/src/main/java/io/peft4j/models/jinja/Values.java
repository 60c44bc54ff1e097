package io.peft4j.models.jinja;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import org.jspecify.annotations.Nullable;

/** What every Python value can be asked: its type, truth, length, elements and members. */
final class Values {
  private Values() {}

  static String typeName(Object value) {
    if (value instanceof Special special) {
      return special.typeName();
    }
    if (value instanceof DictView view) {
      return switch (view.kind()) {
        case KEYS -> "dict_keys";
        case VALUES -> "dict_values";
        case ITEMS -> "dict_items";
      };
    }
    return value == None.NONE
        ? "NoneType"
        : value instanceof Boolean
            ? "bool"
            : value instanceof Markup
                ? "Markup"
                : value instanceof Long
                    ? "int"
                    : value instanceof Double
                        ? "float"
                        : value instanceof String
                            ? "str"
                            : value instanceof List
                                ? "list"
                                : value instanceof Tuple
                                    ? "tuple"
                                    : value instanceof Dict
                                        ? "dict"
                                        : value instanceof Range
                                            ? "range"
                                            : value instanceof Stream
                                                ? "generator"
                                                : value instanceof Undefined
                                                    ? "Undefined"
                                                    : "function";
  }

  static boolean truth(Object given) {
    Object value = Markup.plain(given);
    if (value instanceof Boolean flag) {
      return flag;
    }
    if (value instanceof Long number) {
      return number != 0;
    }
    if (value instanceof Double number) {
      return number != 0;
    }
    int size = size(value);
    return size < 0 ? value != None.NONE : size > 0;
  }

  /** How many elements; of a text, code units; -1 if it has no length. */
  private static int size(Object value) {
    if (value instanceof String text) {
      return text.length();
    }
    if (value instanceof Dict dict) {
      return dict.size();
    }
    if (value instanceof Range range) {
      return range.size();
    }
    if (value instanceof DictView view) {
      return view.dict().size();
    }
    if (value instanceof Loop loop) {
      return loop.length();
    }
    List<Object> items = sequence(value);
    return items != null ? items.size() : value instanceof Undefined ? 0 : -1;
  }

  static long length(Engine engine, Object value) {
    if (value instanceof String text) {
      return Text.length(engine.read(text));
    }
    int size = size(value);
    if (size < 0) {
      throw new Failure("object of type '" + typeName(value) + "' has no len()");
    }
    return size;
  }

  static boolean isSequence(Object value) {
    return value instanceof String
        || value instanceof Dict
        || value instanceof Range
        || sequence(value) != null;
  }

  static boolean isIterable(Object value) {
    return isSequence(value)
        || value instanceof DictView
        || value instanceof Stream
        || value instanceof Loop
        || value instanceof Undefined;
  }

  /** The elements of a list or tuple, else null. */
  @SuppressWarnings("unchecked") // All lists of the engine hold Object.
  static @Nullable List<Object> sequence(Object value) {
    return value instanceof List
        ? (List<Object>) value
        : value instanceof Tuple tuple ? tuple.items() : null;
  }

  /** Walks the elements; each one costs a step. */
  static Iterator<Object> iterate(Engine engine, Object given) {
    Object value = Markup.plain(given);
    Iterator<?> elements;
    List<Object> items = sequence(value);
    if (items != null) {
      elements = items.iterator();
    } else if (value instanceof String text) {
      elements = Text.characters(text);
    } else if (value instanceof Dict dict) {
      elements = dict.entries().stream().map(java.util.Map.Entry::getKey).iterator();
    } else if (value instanceof DictView view) {
      engine.budget().elements(view.dict().size());
      elements = view.elements().iterator();
    } else if (value instanceof Range range) {
      elements = java.util.stream.IntStream.range(0, range.size()).mapToObj(range::at).iterator();
    } else if (value instanceof Stream stream) {
      elements = stream.elements();
    } else if (value instanceof Loop loop) {
      elements = loop.rest();
    } else if (value instanceof Undefined) {
      elements = List.of().iterator();
    } else {
      throw new Failure("'" + typeName(value) + "' object is not iterable");
    }
    return new Iterator<>() {
      @Override
      public boolean hasNext() {
        return elements.hasNext();
      }

      @Override
      public Object next() {
        if (!elements.hasNext()) {
          throw new NoSuchElementException();
        }
        engine.budget().spend(1);
        return elements.next();
      }
    };
  }

  static List<Object> list(Engine engine, Object value) {
    List<Object> list = new ArrayList<>();
    iterate(engine, value).forEachRemaining(list::add);
    return list;
  }

  static long integer(Object value, String user) {
    if (value instanceof Long number) {
      return number;
    }
    if (value instanceof Boolean flag) {
      return flag ? 1 : 0;
    }
    throw new Failure(user + ": needs an int, not " + typeName(value));
  }

  /** {@code value.name}: methods first, then keys. */
  static Object attribute(Engine engine, Object given, String name) {
    Object value = Markup.plain(given);
    Object member = member(value, name);
    if (member != null) {
      return member;
    }
    Object found = value instanceof Dict dict ? dict.get(name) : null;
    return found == null ? Undefined.member(value, name) : found;
  }

  /** {@code value[key]}: keys first, then methods. */
  static Object item(Engine engine, Object given, Object givenKey) {
    Object value = Markup.plain(given);
    Object key = Markup.plain(givenKey);
    if (value instanceof Undefined undefined) {
      throw undefined.failure();
    }
    Object found = null;
    if (value instanceof Dict dict) {
      boolean hashable = !(key instanceof List || key instanceof Dict || key instanceof DictView);
      found = hashable ? dict.get(key) : null;
    } else if (key instanceof Long || key instanceof Boolean) {
      found = element(engine, value, integer(key, "an index"));
    }
    if (found == null && key instanceof String name) {
      found = member(value, name);
    }
    return found == null ? Undefined.member(value, key) : found;
  }

  private static @Nullable Object member(Object value, String name) {
    if (value instanceof Undefined undefined) {
      throw undefined.failure();
    }
    if (name.startsWith("__")) {
      return Undefined.unsafe(value, name);
    }
    if (value instanceof Special special) {
      return special.attribute(name);
    }
    return Methods.find(value, name);
  }

  private static @Nullable Object element(Engine engine, Object value, long index) {
    if (value instanceof Range range) {
      long at = index < 0 ? index + range.size() : index;
      return at < 0 || at >= range.size() ? null : (Object) range.at((int) at);
    }
    if (value instanceof String text) {
      return Text.at(engine.read(text), index);
    }
    List<Object> items = sequence(value);
    if (items == null) {
      return null;
    }
    long at = index < 0 ? index + items.size() : index;
    return at < 0 || at >= items.size() ? null : items.get((int) at);
  }

  /** {@code value[start:stop:step]}; a bound that is None is left out. */
  static Object slice(Engine engine, Object given, Object start, Object stop, Object step) {
    Object value = Markup.plain(given);
    if (value instanceof Undefined undefined) {
      throw undefined.failure();
    }
    List<Object> items = sequence(value);
    if (items == null && !(value instanceof String) && !(value instanceof Range)) {
      throw new Failure("'" + typeName(value) + "' object cannot be sliced");
    }
    // Beyond the longest text, all steps are the same.
    long wanted = step == None.NONE ? 1 : integer(step, "a slice");
    long by = Math.max(-Integer.MAX_VALUE, Math.min(Integer.MAX_VALUE, wanted));
    if (by == 0) {
      throw new Failure("the step of a slice must not be zero");
    }
    long size = length(engine, value);
    long first = start == None.NONE ? by > 0 ? 0 : size - 1 : bound(start, size, by);
    long end = stop == None.NONE ? by > 0 ? size : -1 : bound(stop, size, by);
    if (value instanceof String text) {
      return engine.made(Text.slice(text, first, end, by));
    }
    if (value instanceof Range range) {
      return Range.of(
          range.start() + first * range.step(),
          range.start() + end * range.step(),
          range.step() * Math.max(-size - 1, Math.min(size + 1, by)));
    }
    List<Object> picked = new ArrayList<>();
    if (items != null) {
      for (long i = first; by > 0 ? i < end : i > end; i += by) {
        engine.budget().spend(1);
        picked.add(items.get((int) i));
      }
    }
    return value instanceof Tuple ? new Tuple(picked) : picked;
  }

  private static long bound(Object given, long size, long step) {
    long bound = integer(given, "a slice");
    if (bound < 0) {
      return Math.max(bound + size, step > 0 ? 0 : -1);
    }
    return Math.min(bound, step > 0 ? size : size - 1);
  }
}
