package io.peft4j.models.jinja;

import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** Iterators made of iterators. */
final class Streams {
  private Streams() {}

  /** The elements that pass, each tested only when it is asked for. */
  static Iterator<Object> filter(Iterator<Object> all, Predicate<Object> test) {
    return new Iterator<>() {
      private @Nullable Object next;

      @Override
      public boolean hasNext() {
        while (next == null && all.hasNext()) {
          Object candidate = all.next();
          next = test.test(candidate) ? candidate : null;
        }
        return next != null;
      }

      @Override
      public Object next() {
        if (!hasNext() || next == null) {
          throw new NoSuchElementException();
        }
        Object found = next;
        next = null;
        return found;
      }
    };
  }

  static Iterator<Object> map(
      Iterator<Object> all, java.util.function.Function<Object, Object> change) {
    return new Iterator<>() {
      @Override
      public boolean hasNext() {
        return all.hasNext();
      }

      @Override
      public Object next() {
        return change.apply(all.next());
      }
    };
  }
}
