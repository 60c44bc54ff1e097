package io.peft4j.nn;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterStateException;
import io.peft4j.target.ModelLayout;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.Size;
import org.jspecify.annotations.Nullable;

/**
 * Any order of calls: no weight is freed while somebody may use it, and all of them are in the end.
 */
final class WeightStorePropertyTest {
  private static final int WEIGHTS = 3;
  private static final Shape SHAPE = new Shape(1, 1);

  private final List<CountedWeight> all = new ArrayList<>();
  private final List<WeightSnapshot> leases = new ArrayList<>();
  private final Map<WeightSnapshot, List<Weight>> seen = new HashMap<>();
  private WeightStore.@Nullable Replacement replacement;
  private int models;

  private CountedWeight weight() {
    CountedWeight weight = new CountedWeight(SHAPE);
    all.add(weight);
    return weight;
  }

  @Property(tries = 500)
  void nothingIsFreedEarlyOrForgotten(
      @ForAll @Size(max = 40) List<@IntRange(max = 9) Integer> calls) {
    ModelLayout.Builder layout = ModelLayout.builder("test");
    Map<String, Weight> weights = new HashMap<>();
    for (int i = 0; i < WEIGHTS; i++) {
      layout.linear("l" + i, 1, 1, false);
      weights.put("l" + i + ".weight", weight());
    }
    WeightStore store = WeightStore.of(layout.build(), weights);
    for (int call : calls) {
      perform(store, call);
      assertTrue(all.stream().allMatch(weight -> weight.closed() <= 1), "closed twice");
      for (WeightSnapshot lease : leases) {
        for (int i = 0; i < WEIGHTS; i++) {
          assertEquals(seen.get(lease).get(i), lease.weight(i));
          assertEquals(0, ((CountedWeight) lease.weight(i)).closed(), "closed while leased");
        }
      }
    }
    while (!leases.isEmpty()) {
      perform(store, 1);
    }
    if (replacement != null) {
      replacement.undo();
    }
    while (models > 0) {
      perform(store, 3);
    }
    store.close();
    assertTrue(all.stream().allMatch(weight -> weight.closed() == 1), "not freed");
  }

  private void perform(WeightStore store, int call) {
    try {
      switch (call) {
        case 0 -> lease(store.lease());
        case 1 -> {
          if (!leases.isEmpty()) {
            leases.remove(leases.size() / 2).close();
          }
        }
        case 2 -> {
          store.enter();
          models++;
        }
        case 3 -> {
          if (models > 0) {
            models--;
            store.leave();
          }
        }
        case 4, 5 -> replacement = store.replace(Map.of(call - 4, weight()));
        case 6 -> {
          if (replacement != null) {
            replacement.undo();
            replacement = null;
          }
        }
        case 7 -> {
          if (replacement != null) {
            replacement.keep();
            replacement = null;
          }
        }
        case 8 -> {
          if (replacement != null) {
            lease(replacement.leaseBefore());
          }
        }
        default -> {
          // Rarely, as nothing much can happen afterwards.
          if (leases.size() > 2) {
            store.close();
          }
        }
      }
    } catch (AdapterStateException e) {
      // Closed, or replaced already: refused without effect. A refused weight stays the caller's.
      if (call == 4 || call == 5) {
        all.remove(all.size() - 1);
      }
    }
  }

  private void lease(WeightSnapshot lease) {
    leases.add(lease);
    List<Weight> weights = new ArrayList<>();
    for (int i = 0; i < WEIGHTS; i++) {
      weights.add(lease.weight(i));
    }
    seen.put(lease, weights);
  }
}
