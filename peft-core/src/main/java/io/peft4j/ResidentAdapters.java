package io.peft4j;

import io.peft4j.spi.Adapter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The adapters that a cache keeps within its budget, in the order of their last use. Guarded by the
 * cache's monitor.
 */
final class ResidentAdapters {
  private final Map<String, CachedAdapter> entries = new LinkedHashMap<>(16, 0.75f, true);
  private final long budget;
  private long bytes;
  private long evictions;

  ResidentAdapters(long budget) {
    this.budget = budget;
  }

  List<String> names() {
    return List.copyOf(entries.keySet());
  }

  long bytes() {
    return bytes;
  }

  long budget() {
    return budget;
  }

  long evictions() {
    return evictions;
  }

  long pinnedBytes() {
    return entries.values().stream()
        .filter(entry -> entry.pinned)
        .mapToLong(entry -> entry.bytes)
        .sum();
  }

  /** Moves an adapter to the end of those that may be dropped. */
  void touch(CachedAdapter entry) {
    entries.get(entry.name);
  }

  /** Takes over a lease, and drops others where the room is needed. */
  void keep(CachedAdapter entry, Adapter adapter) {
    entry.adapter = adapter;
    entry.bytes = adapter.bytes();
    bytes += entry.bytes;
    entries.put(entry.name, entry);
    trim();
  }

  void drop(CachedAdapter entry) {
    Adapter adapter = entry.adapter;
    if (adapter != null) {
      entries.remove(entry.name);
      bytes -= entry.bytes;
      entry.adapter = null;
      adapter.release();
    }
  }

  void dropAll() {
    new ArrayList<>(entries.values()).forEach(this::drop);
  }

  void trim() {
    while (bytes > budget) {
      CachedAdapter victim = victim();
      if (victim == null) {
        return;
      }
      drop(victim);
      evictions++;
    }
  }

  /** What has not been asked for the longest, rather than something that a request holds. */
  private @Nullable CachedAdapter victim() {
    CachedAdapter held = null;
    for (CachedAdapter entry : entries.values()) {
      Adapter adapter = entry.adapter;
      if (!entry.pinned && adapter != null) {
        if (!adapter.inUse()) {
          return entry;
        }
        held = held == null ? entry : held;
      }
    }
    return held;
  }
}
