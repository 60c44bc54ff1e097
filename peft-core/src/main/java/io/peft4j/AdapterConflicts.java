package io.peft4j;

import io.peft4j.nn.LayerAdapter;
import io.peft4j.spi.Adapter;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import java.util.List;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Finds out whether adapters can act together. */
final class AdapterConflicts {
  private AdapterConflicts() {}

  /** Checks the adapters of a set that act on the same rows. */
  static void check(ModelLayout layout, AdapterSet set, Function<String, Adapter> adapters) {
    List<String> names = List.copyOf(set.strengths().keySet());
    for (int i = 0; i < names.size(); i++) {
      for (int j = i + 1; j < names.size(); j++) {
        String reason =
            conflict(layout, adapters.apply(names.get(i)), adapters.apply(names.get(j)));
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

  private static @Nullable String conflict(ModelLayout layout, Adapter first, Adapter second) {
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
}
