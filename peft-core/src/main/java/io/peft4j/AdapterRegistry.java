package io.peft4j;

import ai.djl.ndarray.NDArray;
import io.peft4j.Members.Member;
import io.peft4j.spi.Adapter;
import io.peft4j.target.ModelLayout;
import java.util.Collection;
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

  /** An adapter, or one part of one. */
  synchronized Adapter one(String name) {
    if (AdapterName.parse(name).parts().isEmpty()) {
      return get(name);
    }
    List<Member> members = Members.of(name, 1, this::get);
    if (members.size() > 1) {
      throw new AdapterStateException("'" + name + "' is more than one part: name one");
    }
    return members.get(0).adapter();
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
    train(trained);
  }

  synchronized void remove(String name) {
    get(name).release();
    adapters.remove(name);
    active = without(active, name);
    trained = trained.stream().filter(other -> !isOf(name, other)).toList();
  }

  /** Whether a name is that of an adapter, or of parts of it. */
  private static boolean isOf(String adapter, String name) {
    return AdapterName.parse(name).adapter().equals(adapter);
  }

  private static AdapterSet without(AdapterSet set, String name) {
    if (!set.names().contains(name)) {
      return set;
    }
    AdapterSet rest = AdapterSet.none();
    if (set.rows().isEmpty()) {
      for (Map.Entry<String, Float> entry : set.strengths().entrySet()) {
        rest = isOf(name, entry.getKey()) ? rest : rest.and(entry.getKey(), entry.getValue());
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
    List<Adapter> wanted =
        names.stream()
            .flatMap(name -> Members.of(name, 1, this::get).stream())
            .map(Member::adapter)
            .toList();
    for (String name : adapters.keySet()) {
      Members.of(name, 1, this::get)
          .forEach(member -> member.adapter().train(wanted.contains(member.adapter())));
    }
    trained = names;
  }

  /** Each once, under the state keys of whole adapters. */
  synchronized List<TrainableParameter> trainableParameters() {
    // By name: comparing arrays would compare their values.
    Map<String, TrainableParameter> all = new LinkedHashMap<>();
    for (String name : trained) {
      AdapterName parsed = AdapterName.parse(name);
      get(parsed.adapter())
          .parameters(parsed.parts())
          .forEach(
              (key, array) ->
                  all.putIfAbsent(
                      parsed.adapter() + "." + key,
                      new TrainableParameter(parsed.adapter(), key, array)));
    }
    return List.copyOf(all.values());
  }

  synchronized ParameterReport report() {
    long all = layout.parameterCount();
    for (Adapter adapter : adapters.values()) {
      all += values(adapter.parameters().values()) - adapter.borrowedValues();
    }
    long trainable = values(trainableParameters().stream().map(TrainableParameter::array).toList());
    return new ParameterReport(trainable, all);
  }

  private static long values(Collection<NDArray> arrays) {
    return arrays.stream().mapToLong(array -> array.getShape().size()).sum();
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
