package io.peft4j;

import io.peft4j.spi.Adapter;
import io.peft4j.target.ModelLayout;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * More adapters than there is memory for, over one model: they are registered by name and
 * directory, loaded when a request first names them, and dropped when others need the room, those
 * first that have not been asked for the longest.
 *
 * <pre>{@code
 * try (PeftModel model = Peft.open(base);
 *     AdapterCache cache = model.cache(512L << 20)) {
 *   tenants.forEach(cache::register);
 *   cache.pin("everyone");
 *   cache.with("acme").forward(inputs);                          // one adapter for all rows
 *   cache.with(AdapterSet.rows("acme", "zenith")).forward(two);  // one for each row
 * }
 * }</pre>
 *
 * <p>All methods may be called from any thread. Requests that miss the same adapter at once wait
 * for one load. A request keeps the adapters that it began with until it ends, also if they are
 * dropped, replaced or unregistered meanwhile: their memory goes with the last request then.
 *
 * <p>The budget is what the cache keeps. Adapters that requests hold are the last to be dropped;
 * what many requests hold at one time can be more than the budget, and is gone when they end.
 *
 * <p>Cached adapters are none of the model's own: those act too where a name is not registered
 * here, and what is merged into the base does not reach requests that come this way.
 *
 * <p>Whoever made the cache closes it, which frees what it keeps.
 */
public final class AdapterCache implements AutoCloseable {
  private final ModelLayout layout;
  private final AdapterRegistry model;
  private final AdapterAttachment attachment;
  private final Passes passes;
  private final Map<String, CachedAdapter> registered = new LinkedHashMap<>();
  private final ResidentAdapters loaded;
  private long hits;
  private long misses;
  private long loads;
  private long failures;
  private long nanoseconds;
  private boolean closed;

  AdapterCache(
      ModelLayout layout,
      AdapterRegistry model,
      AdapterAttachment attachment,
      Passes passes,
      long budget) {
    if (budget < 0) {
      throw new InvalidConfigException(
          "the budget of an adapter cache must not be negative, was " + budget + " bytes");
    }
    this.layout = layout;
    this.model = model;
    this.attachment = attachment;
    this.passes = passes.from(new Source());
    loaded = new ResidentAdapters(budget);
  }

  /**
   * What a cache holds and has done so far.
   *
   * @param registered adapters that it knows
   * @param loaded adapters that it keeps
   * @param bytes native memory of those, by the sizes of their tensors
   * @param budgetBytes how much it may keep
   * @param hits how often a request found an adapter loaded
   * @param misses how often it did not, and loaded it or waited for another's load
   * @param loads how many adapters were loaded
   * @param failures how many could not be
   * @param evictions how many were dropped because others needed the room
   * @param loadSeconds how long loading took altogether
   */
  public record Statistics(
      int registered,
      int loaded,
      long bytes,
      long budgetBytes,
      long hits,
      long misses,
      long loads,
      long failures,
      long evictions,
      double loadSeconds) {}

  /**
   * Makes an adapter known. Nothing is read yet.
   *
   * @param name letters, digits, {@code _} and {@code -}; neither registered nor one of the model's
   *     own
   * @param directory where it is saved, of any kind that the model can load
   * @throws AdapterStateException if the name is in use
   */
  public void register(String name, Path directory) {
    model.checkFree(name);
    synchronized (this) {
      checkOpen();
      if (registered.containsKey(name)) {
        throw new AdapterStateException(
            "an adapter '" + name + "' is registered already: replace it, or unregister it first");
      }
      registered.put(name, new CachedAdapter(name, directory));
    }
  }

  /**
   * Puts another directory in the place of a registered adapter's. It is read at once; if that
   * fails, nothing is changed. Requests that begin later use the new one.
   *
   * @param name the adapter
   * @param directory where the new one is saved
   * @throws AdapterStateException if none is registered under that name, or the new one cannot be
   *     loaded
   */
  public void replace(String name, Path directory) {
    synchronized (this) {
      entry(name);
    }
    CachedAdapter next = new CachedAdapter(name, directory);
    Adapter adapter = read(next);
    boolean kept = false;
    try {
      synchronized (this) {
        CachedAdapter before = entry(name);
        loaded.drop(before);
        next.pinned = before.pinned;
        registered.put(name, next);
        loaded.keep(next, adapter);
        kept = true;
      }
    } finally {
      if (!kept) {
        adapter.release();
      }
    }
  }

  /**
   * Forgets an adapter. Does nothing if none of that name is registered.
   *
   * @param name the adapter
   */
  public synchronized void unregister(String name) {
    CachedAdapter entry = registered.remove(name);
    if (entry != null) {
      loaded.drop(entry);
    }
  }

  /**
   * Loads an adapter and keeps it, whatever else is asked for.
   *
   * @param name the adapter
   * @throws AdapterStateException if none is registered under that name, it cannot be loaded, or
   *     the pinned adapters would take more than the budget
   */
  public void pin(String name) {
    CachedAdapter entry;
    synchronized (this) {
      entry = entry(name);
    }
    Adapter adapter = lease(name);
    try {
      synchronized (this) {
        if (entry(name) != entry) {
          throw new AdapterStateException("adapter '" + name + "' was replaced meanwhile");
        }
        long needed = loaded.pinnedBytes() + (entry.pinned ? 0 : adapter.bytes());
        if (needed > loaded.budget()) {
          throw new AdapterStateException(
              "adapter '"
                  + name
                  + "' cannot be pinned: the pinned adapters would take "
                  + needed
                  + " bytes of a budget of "
                  + loaded.budget());
        }
        entry.pinned = true;
        if (entry.adapter == null) {
          adapter.retain();
          loaded.keep(entry, adapter);
        }
      }
    } finally {
      adapter.release();
    }
  }

  /**
   * Lets a pinned adapter be dropped again when others need the room.
   *
   * @param name the adapter
   * @throws AdapterStateException if none is registered under that name
   */
  public synchronized void unpin(String name) {
    entry(name).pinned = false;
    loaded.trim();
  }

  /**
   * Loads adapters ahead of the requests that will name them.
   *
   * @param names registered adapters
   * @throws AdapterStateException if one is not registered or cannot be loaded
   */
  public void load(String... names) {
    for (String name : names) {
      lease(name).release();
    }
  }

  /**
   * The model with chosen adapters; as {@link #with(AdapterSet)}.
   *
   * @param names registered adapters, or the model's own; none for the base alone
   * @return the view
   * @throws AdapterStateException if there is no adapter of a name
   */
  public PeftView with(String... names) {
    return with(AdapterSet.of(names));
  }

  /**
   * The model with chosen adapters, for one request or many. They are loaded, if they have to be,
   * at the beginning of each request.
   *
   * @param set registered adapters, or the model's own
   * @return the view, which holds nothing to close. Its passes throw {@link AdapterStateException}
   *     if an adapter cannot be loaded or they cannot act together
   * @throws AdapterStateException if there is no adapter of a name
   */
  public PeftView with(AdapterSet set) {
    return passes.view(set);
  }

  /**
   * The adapters that are kept now.
   *
   * @return their names, the one that was asked for last at the end
   */
  public synchronized List<String> loadedNames() {
    return loaded.names();
  }

  /**
   * What the cache holds and has done so far.
   *
   * @return the counts at one moment
   */
  public synchronized Statistics statistics() {
    return new Statistics(
        registered.size(),
        loaded.names().size(),
        loaded.bytes(),
        loaded.budget(),
        hits,
        misses,
        loads,
        failures,
        loaded.evictions(),
        nanoseconds / 1e9);
  }

  @Override
  public synchronized void close() {
    closed = true;
    loaded.dropAll();
    registered.clear();
  }

  /** Gives passes their adapters. */
  private final class Source implements AdapterSource {
    @Override
    public LeasedAdapters lease(AdapterSet set) {
      Map<String, Adapter> leased = new LinkedHashMap<>();
      try {
        for (String name : set.names()) {
          leased.put(name, AdapterCache.this.lease(name));
        }
        LeasedAdapters all = new LeasedAdapters(set, leased);
        AdapterConflicts.check(layout, set, all::get);
        return all;
      } catch (RuntimeException e) {
        leased.values().forEach(Adapter::release);
        throw e;
      }
    }

    @Override
    public void check(AdapterSet set) {
      synchronized (AdapterCache.this) {
        checkOpen();
        set.names().stream().filter(name -> model.find(name) == null).forEach(name -> entry(name));
      }
    }
  }

  private void checkOpen() {
    if (closed) {
      throw new AdapterStateException("the adapter cache has been closed");
    }
  }

  private CachedAdapter entry(String name) {
    checkOpen();
    CachedAdapter entry = registered.get(name);
    if (entry == null) {
      throw new AdapterStateException(
          "no adapter '"
              + name
              + "' is among the "
              + registered.size()
              + " registered, nor is it one of the model's own "
              + model.names());
    }
    return entry;
  }

  /** Leases an adapter, which is loaded if it has to be; the caller releases it. */
  private Adapter lease(String name) {
    CachedAdapter entry;
    AdapterLoad load;
    boolean own;
    synchronized (this) {
      checkOpen();
      if (!registered.containsKey(name)) {
        Adapter adapter = model.lend(name);
        if (adapter != null) {
          return adapter;
        }
      }
      entry = entry(name);
      Adapter adapter = entry.adapter;
      if (adapter != null) {
        hits++;
        loaded.touch(entry);
        adapter.retain();
        return adapter;
      }
      misses++;
      AdapterLoad going = entry.load;
      own = going == null;
      load = going == null ? new AdapterLoad() : going;
      entry.load = load;
      load.requests++;
    }
    return own ? load(entry, load) : load.await();
  }

  private Adapter load(CachedAdapter entry, AdapterLoad load) {
    try {
      Adapter adapter = read(entry);
      synchronized (this) {
        entry.load = null;
        // One lease for each request that waits, and the one it was made with for the cache.
        for (int i = 0; i < load.requests; i++) {
          adapter.retain();
        }
        if (!closed && registered.get(entry.name) == entry && entry.adapter == null) {
          loaded.keep(entry, adapter);
        } else {
          adapter.release();
        }
      }
      load.done(adapter);
      return adapter;
    } catch (RuntimeException | Error e) {
      synchronized (this) {
        entry.load = null;
      }
      load.failed(e);
      throw e;
    }
  }

  private Adapter read(CachedAdapter entry) {
    long begin = System.nanoTime();
    try {
      Adapter adapter = attachment.read(entry.directory);
      synchronized (this) {
        loads++;
        nanoseconds += System.nanoTime() - begin;
      }
      return adapter;
    } catch (RuntimeException e) {
      synchronized (this) {
        failures++;
      }
      throw entry.failure(e);
    }
  }
}
