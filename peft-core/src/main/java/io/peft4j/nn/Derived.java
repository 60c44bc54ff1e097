package io.peft4j.nn;

import java.util.HashMap;
import java.util.Map;
import java.util.function.Supplier;

/** What has been worked out once from things that do not change, and goes when they go. */
final class Derived implements AutoCloseable {
  private final Map<Object, Object> values = new HashMap<>();
  private boolean closed;

  /** The value of a key, made if it is not there yet. Making one may ask for others. */
  synchronized <T> T get(Object key, Class<T> type, Supplier<T> maker) {
    Object value = values.get(key);
    if (value == null) {
      if (closed) {
        throw new IllegalStateException("the lease has ended");
      }
      value = maker.get();
      values.put(key, value);
    }
    return type.cast(value);
  }

  @Override
  public synchronized void close() {
    closed = true;
    for (Object value : values.values()) {
      if (value instanceof AutoCloseable held) {
        try {
          held.close();
        } catch (Exception e) {
          throw new IllegalStateException("arrays do not fail to close", e);
        }
      }
    }
    values.clear();
  }
}
