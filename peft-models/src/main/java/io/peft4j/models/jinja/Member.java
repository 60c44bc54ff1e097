package io.peft4j.models.jinja;

import java.util.ArrayList;
import java.util.List;

/** What the argument {@code attribute} of a filter names: {@code a}, {@code a.b}, {@code 0.b}. */
record Member(Engine engine, List<Object> path) {
  /**
   * Reads a path.
   *
   * @param given a text, an int, or None for the value itself
   */
  static Member of(Engine engine, Object given) {
    List<Object> path = new ArrayList<>();
    if (given instanceof String text) {
      for (Object part : Text.split(text, ".", -1, false)) {
        String name = (String) part;
        boolean index = name.length() < 10 && Text.all(name, point -> point >= '0' && point <= '9');
        path.add(index ? (Object) Long.valueOf(name) : name);
      }
    } else if (given != None.NONE) {
      path.add(given);
    }
    return new Member(engine, path);
  }

  Object of(Object value) {
    Object found = value;
    for (Object part : path) {
      found = Values.item(engine, found, part);
    }
    return found;
  }

  /** With something else wherever a part of the path is not there. */
  Object of(Object value, Object fallback) {
    Object found = value;
    for (Object part : path) {
      found = Values.item(engine, found, part);
      found = found instanceof Undefined && fallback != None.NONE ? fallback : found;
    }
    return found;
  }
}
