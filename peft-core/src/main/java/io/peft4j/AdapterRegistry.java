package io.peft4j;

import io.peft4j.nn.LayerAdapter;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.spi.Adapter;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The adapters of one model by name. Guarded by the model's lock. */
final class AdapterRegistry {
  private final ModelLayout layout;
  private final Map<String, Adapter> adapters = new LinkedHashMap<>();

  AdapterRegistry(ModelLayout layout) {
    this.layout = layout;
  }

  Adapter get(String name) {
    Adapter adapter = adapters.get(name);
    if (adapter == null) {
      throw new AdapterStateException(
          "there is no adapter '" + name + "'; the model has " + adapters.keySet());
    }
    return adapter;
  }

  boolean contains(String name) {
    return adapters.containsKey(name);
  }

  List<String> names() {
    return List.copyOf(adapters.keySet());
  }

  Map<String, Adapter> all() {
    return adapters;
  }

  /** Puts an adapter under a name; the one that had it before is freed after its last lease. */
  void put(String name, Adapter adapter) {
    Adapter before = adapters.put(name, adapter);
    if (before != null) {
      before.release();
    }
  }

  void remove(String name) {
    get(name).release();
    adapters.remove(name);
  }

  void clear() {
    adapters.values().forEach(Adapter::release);
    adapters.clear();
  }

  /** Checks that all adapters exist and can act together. */
  void check(AdapterSet set) {
    List<String> names = List.copyOf(set.strengths().keySet());
    set.names().forEach(this::get);
    for (int i = 0; i < names.size(); i++) {
      for (int j = i + 1; j < names.size(); j++) {
        String reason = conflict(get(names.get(i)), get(names.get(j)));
        if (reason != null) {
          throw new AdapterStateException(
              "adapters '"
                  + names.get(i)
                  + "' and '"
                  + names.get(j)
                  + "' cannot act together: "
                  + reason);
        }
      }
    }
  }

  private @Nullable String conflict(Adapter first, Adapter second) {
    int shared = first.sharedOverride(second);
    if (shared >= 0) {
      return "both bring their own " + layout.parameterNames().get(shared);
    }
    for (LayerSpec layer : layout.layers()) {
      LayerAdapter one = first.layer(layer.slot());
      LayerAdapter other = second.layer(layer.slot());
      String reason = one == null || other == null ? null : one.conflict(other);
      if (reason != null) {
        return layer.path() + ": " + reason;
      }
    }
    return null;
  }

  /** Leases the adapters of a set; the caller releases each of them. */
  List<Adapter> lease(AdapterSet set) {
    List<Adapter> leased = new ArrayList<>();
    for (String name : set.names()) {
      leased.add(get(name));
    }
    leased.forEach(Adapter::retain);
    return leased;
  }

  /** The one segment of a set whose adapters act on every row. */
  Segment segment(AdapterSet set) {
    List<Adapter> acting = new ArrayList<>();
    float[] strengths = new float[set.strengths().size()];
    for (Map.Entry<String, Float> entry : set.strengths().entrySet()) {
      strengths[acting.size()] = entry.getValue();
      acting.add(get(entry.getKey()));
    }
    return new Segment(0, Long.MAX_VALUE, acting, strengths);
  }
}
