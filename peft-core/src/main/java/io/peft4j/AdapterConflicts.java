package io.peft4j;

import io.peft4j.Members.Member;
import io.peft4j.nn.LayerAdapter;
import io.peft4j.spi.Adapter;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Finds out whether adapters can act together. */
final class AdapterConflicts {
  private AdapterConflicts() {}

  /** Checks the adapters of a set that act on the same rows, and that there are all parts. */
  static void check(ModelLayout layout, AdapterSet set, Function<String, Adapter> adapters) {
    for (String row : new LinkedHashSet<>(set.rows())) {
      if (!row.equals(AdapterSet.BASE)) {
        Members.of(row, 1, adapters);
      }
    }
    List<Member> members = Members.of(set, adapters);
    for (int i = 0; i < members.size(); i++) {
      for (int j = i + 1; j < members.size(); j++) {
        Member one = members.get(i);
        Member other = members.get(j);
        String reason =
            one.adapter() == other.adapter()
                ? "they are the same"
                : conflict(layout, one.adapter(), other.adapter());
        if (reason != null) {
          throw new AdapterStateException(
              "adapters '"
                  + one.name()
                  + "' and '"
                  + other.name()
                  + "' cannot act together: "
                  + reason);
        }
      }
    }
  }

  /** Checks that the parts of an adapter can act together. */
  static void checkParts(ModelLayout layout, Adapter adapter) {
    List<Map.Entry<String, Adapter>> parts = List.copyOf(adapter.parts().entrySet());
    for (int i = 0; i < parts.size(); i++) {
      for (int j = i + 1; j < parts.size(); j++) {
        String reason = conflict(layout, parts.get(i).getValue(), parts.get(j).getValue());
        if (reason != null) {
          throw new InvalidConfigException(
              "parts '"
                  + parts.get(i).getKey()
                  + "' and '"
                  + parts.get(j).getKey()
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
