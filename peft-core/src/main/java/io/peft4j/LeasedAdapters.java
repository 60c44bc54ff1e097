package io.peft4j;

import io.peft4j.nn.Pass.Segment;
import io.peft4j.spi.Adapter;
import java.util.ArrayList;
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

  /** The one segment of a set whose adapters act on every row. */
  Segment segment() {
    List<Adapter> acting = new ArrayList<>();
    float[] strengths = new float[set.strengths().size()];
    for (Map.Entry<String, Float> entry : set.strengths().entrySet()) {
      strengths[acting.size()] = entry.getValue();
      acting.add(get(entry.getKey()));
    }
    return new Segment(0, Long.MAX_VALUE, acting, strengths);
  }

  @Override
  public void close() {
    // Once only: a second release would take another's lease.
    if (closed.compareAndSet(false, true)) {
      adapters.values().forEach(Adapter::release);
    }
  }
}
