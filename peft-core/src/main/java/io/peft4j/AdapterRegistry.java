package io.peft4j;

import io.peft4j.spi.Adapter;
import io.peft4j.target.ModelLayout;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The adapters of one model by name, which of them act where a request names none, and which are
 * trained. Its monitor guards all of the model's state: callers hold it over what must not change
 * in between.
 */
final class AdapterRegistry implements AdapterSource {
  private final ModelLayout layout;
  private final Map<String, Adapter> adapters = new LinkedHashMap<>();
  private volatile AdapterSet active = AdapterSet.none();
  private List<String> trained = List.of();
  private boolean closed;

  AdapterRegistry(ModelLayout layout) {
    this.layout = layout;
  }

  synchronized Adapter get(String name) {
    Adapter adapter = adapters.get(name);
    if (adapter == null) {
      throw new AdapterStateException(
          "there is no adapter '" + name + "'; the model has " + adapters.keySet());
    }
    return adapter;
  }

  synchronized @Nullable Adapter find(String name) {
    return adapters.get(name);
  }

  /** Leases an adapter, if there is one of that name; the caller releases it. */
  synchronized @Nullable Adapter lend(String name) {
    Adapter adapter = adapters.get(name);
    if (adapter != null) {
      adapter.retain();
    }
    return adapter;
  }

  synchronized List<String> names() {
    return List.copyOf(adapters.keySet());
  }

  void checkFree(String name) {
    AdapterSet.checkName(name);
    if (find(name) != null) {
      throw new AdapterStateException("there is an adapter '" + name + "' already");
    }
  }

  /** Puts an adapter under a name; the one that had it before is freed after its last lease. */
  synchronized void put(String name, Adapter adapter) {
    Adapter before = adapters.put(name, adapter);
    if (before != null) {
      before.release();
    }
    adapter.train(trained.contains(name));
  }

  synchronized void remove(String name) {
    get(name).release();
    adapters.remove(name);
    active = without(active, name);
    trained = trained.stream().filter(other -> !other.equals(name)).toList();
  }

  private static AdapterSet without(AdapterSet set, String name) {
    if (!set.names().contains(name)) {
      return set;
    }
    AdapterSet rest = AdapterSet.none();
    if (set.rows().isEmpty()) {
      for (Map.Entry<String, Float> entry : set.strengths().entrySet()) {
        rest = entry.getKey().equals(name) ? rest : rest.and(entry.getKey(), entry.getValue());
      }
    }
    return rest;
  }

  /** Frees all adapters. */
  synchronized void close() {
    closed = true;
    active = AdapterSet.none();
    trained = List.of();
    adapters.values().forEach(Adapter::release);
    adapters.clear();
  }

  synchronized boolean closed() {
    return closed;
  }

  synchronized void checkOpen() {
    if (closed) {
      throw new AdapterStateException("the model has been closed");
    }
  }

  AdapterSet active() {
    return active;
  }

  synchronized void activate(AdapterSet set) {
    check(set);
    active = set;
  }

  synchronized List<String> trained() {
    return trained;
  }

  synchronized void train(List<String> names) {
    names.forEach(this::get);
    adapters.forEach((name, adapter) -> adapter.train(names.contains(name)));
    trained = names;
  }

  synchronized List<TrainableParameter> trainableParameters() {
    List<TrainableParameter> all = new ArrayList<>();
    for (String name : trained) {
      get(name)
          .parameters()
          .forEach((key, array) -> all.add(new TrainableParameter(name, key, array)));
    }
    return all;
  }

  synchronized ParameterReport report() {
    long trainable = 0;
    long all = layout.parameterCount();
    for (Map.Entry<String, Adapter> entry : adapters.entrySet()) {
      Adapter adapter = entry.getValue();
      long values =
          adapter.parameters().values().stream().mapToLong(a -> a.getShape().size()).sum();
      all += values - adapter.borrowedValues();
      if (trained.contains(entry.getKey())) {
        trainable += values;
      }
    }
    return new ParameterReport(trainable, all);
  }

  @Override
  public synchronized void check(AdapterSet set) {
    set.names().forEach(this::get);
    AdapterConflicts.check(layout, set, this::get);
  }

  @Override
  public synchronized LeasedAdapters lease(AdapterSet set) {
    check(set);
    Map<String, Adapter> leased = new LinkedHashMap<>();
    for (String name : set.names()) {
      Adapter adapter = get(name);
      adapter.retain();
      leased.put(name, adapter);
    }
    return new LeasedAdapters(set, leased);
  }
}
