package io.peft4j;

import io.peft4j.Members.Member;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.spi.Adapter;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;

/** The adapters that a set names, which stay until this is closed by whoever leased them. */
final class LeasedAdapters implements AutoCloseable {
  private final AdapterSet set;
  private final Map<String, Adapter> adapters;
  private final AtomicBoolean closed = new AtomicBoolean();

  /**
   * Takes over leases.
   *
   * @param adapters the adapters of the set by name, each leased once for this object
   */
  LeasedAdapters(AdapterSet set, Map<String, Adapter> adapters) {
    this.set = set;
    this.adapters = new LinkedHashMap<>(adapters);
  }

  Adapter get(String name) {
    Adapter adapter = adapters.get(name);
    if (adapter == null) {
      throw new AdapterStateException(
          "adapter '" + name + "' is not among those leased, " + adapters.keySet());
    }
    return adapter;
  }

  List<Adapter> all() {
    return List.copyOf(adapters.values());
  }

  /** What acts under one name of the set. */
  List<Member> members(String name) {
    return Members.of(name, 1, this::get);
  }

  /** What acts on every row. */
  List<Member> members() {
    return Members.of(set, this::get);
  }

  /** The one segment of a set whose adapters act on every row. */
  Segment segment() {
    return Members.segment(0, Long.MAX_VALUE, members());
  }

  @Override
  public void close() {
    // Once only: a second release would take another's lease.
    if (closed.compareAndSet(false, true)) {
      adapters.values().forEach(Adapter::release);
    }
  }
}
