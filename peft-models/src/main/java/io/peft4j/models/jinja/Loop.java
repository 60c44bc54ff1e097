package io.peft4j.models.jinja;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The variable {@code loop}. It looks ahead only as far as it is asked to, as jinja2 does. */
final class Loop implements Special {
  private Iterator<Object> elements;
  private long index = -1;
  private int length = -1;
  private @Nullable Object previous;
  private @Nullable Object current;
  private @Nullable Object following;
  private @Nullable Object changed;

  Loop(Iterator<Object> elements) {
    this.elements = elements;
  }

  boolean advance() {
    Object next = peek();
    if (next == null) {
      return false;
    }
    previous = current;
    current = next;
    following = null;
    index++;
    return true;
  }

  Object current() {
    if (current == null) {
      throw new IllegalStateException("the loop has not begun");
    }
    return current;
  }

  Iterator<Object> rest() {
    return elements;
  }

  private @Nullable Object peek() {
    if (following == null && elements.hasNext()) {
      following = elements.next();
    }
    return following;
  }

  int length() {
    if (length < 0) {
      List<Object> rest = new ArrayList<>();
      elements.forEachRemaining(rest::add);
      elements = rest.iterator();
      length = (int) index + 1 + rest.size() + (following == null ? 0 : 1);
    }
    return length;
  }

  @Override
  public @Nullable Object attribute(String name) {
    return switch (name) {
      case "index" -> index + 1;
      case "index0" -> index;
      case "revindex" -> length() - index;
      case "revindex0" -> length() - index - 1;
      case "first" -> index == 0;
      case "last" -> peek() == null;
      case "length" -> (long) length();
      case "depth" -> 1L;
      case "depth0" -> 0L;
      case "previtem" -> orUndefined(index == 0 ? null : previous, "there is no previous item");
      case "nextitem" -> orUndefined(peek(), "there is no next item");
      case "cycle" -> (Function) (engine, arguments) -> cycle(arguments.positional());
      case "changed" -> (Function) (engine, arguments) -> changed(engine, arguments);
      default -> null;
    };
  }

  private static Object orUndefined(@Nullable Object value, String hint) {
    return value == null ? Undefined.because(hint) : value;
  }

  private Object cycle(List<Object> values) {
    if (values.isEmpty()) {
      throw new Failure("loop.cycle needs at least one value");
    }
    return values.get((int) (index % values.size()));
  }

  private Object changed(Engine engine, Arguments arguments) {
    Tuple now = new Tuple(arguments.positional());
    boolean differs = changed == null || !Operators.equal(engine, changed, now);
    changed = now;
    return differs;
  }

  @Override
  public String typeName() {
    return "LoopContext";
  }
}
