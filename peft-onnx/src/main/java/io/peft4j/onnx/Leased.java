package io.peft4j.onnx;

import io.peft4j.AdapterStateException;
import io.peft4j.PeftException;

/** Something native that is closed when it is given up and nobody uses it any more. */
final class Leased<T extends AutoCloseable> {
  private final T value;
  private final String name;
  private int leases = 1;
  private boolean retired;

  Leased(T value, String name) {
    this.value = value;
    this.name = name;
  }

  /** Begins a use, which {@link #release} ends. */
  synchronized T acquire() {
    if (retired) {
      throw new AdapterStateException(name + " has been closed");
    }
    leases++;
    return value;
  }

  synchronized void release() {
    if (--leases == 0) {
      try {
        value.close();
      } catch (RuntimeException e) {
        throw e;
      } catch (Exception e) {
        throw new PeftException(name + " cannot be closed: " + e.getMessage(), e);
      }
    }
  }

  /** Gives it up; uses that have begun go on. */
  synchronized void retire() {
    if (!retired) {
      retired = true;
      release();
    }
  }
}
