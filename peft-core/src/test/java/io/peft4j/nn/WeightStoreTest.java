package io.peft4j.nn;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterStateException;
import io.peft4j.MalformedFileException;
import io.peft4j.target.ModelLayout;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Who sees which weights, and when they are freed. */
final class WeightStoreTest {
  private static final Shape SHAPE = new Shape(2, 3);

  private final CountedWeight a = new CountedWeight(SHAPE);
  private final CountedWeight b = new CountedWeight(SHAPE);
  private final CountedWeight c = new CountedWeight(SHAPE);

  private static ModelLayout layout() {
    ModelLayout.Builder layout = ModelLayout.builder("test");
    layout.linear("a", 3, 2, false);
    layout.linear("b", 3, 2, false);
    layout.tiedLinear("tied", 3, 2, "a.weight");
    return layout.build();
  }

  private WeightStore store() {
    return WeightStore.of(layout(), Map.of("a.weight", a, "b.weight", b));
  }

  private static void assertClosed(int a, int b, int c, WeightStoreTest test) {
    assertEquals(
        a + " " + b + " " + c, test.a.closed() + " " + test.b.closed() + " " + test.c.closed());
  }

  @Test
  void tiedNamesShareAWeightThatIsClosedOnce() {
    WeightStore store = store();
    try (WeightSnapshot lease = store.lease()) {
      assertSame(a, lease.weight(store.layout().parameterIndex("a.weight")));
      assertSame(a, lease.weight(store.layout().parameterIndex("tied.weight")));
      assertSame(b, lease.weight(store.layout().parameterIndex("b.weight")));
    }
    store.close();
    store.close();
    assertClosed(1, 1, 0, this);
  }

  @Test
  void everyMisfitIsNamedAndAllWeightsAreClosed() {
    CountedWeight wide = new CountedWeight(new Shape(2, 4));
    MalformedFileException e =
        assertThrows(
            MalformedFileException.class,
            () -> WeightStore.of(layout(), Map.of("a.weight", wide, "x.weight", c)));
    assertEquals(
        "the weights do not fit a test model: a.weight has shape (2, 4) where (2, 3) is needed;"
            + " missing b.weight; tied.weight has shape (2, 4) where (2, 3) is needed;"
            + " surplus x.weight",
        String.valueOf(e.getMessage()).replace("b.weight (2, 3)", "b.weight"));
    assertEquals(1, wide.closed());
    assertEquals(1, c.closed());
  }

  @Test
  void aPassKeepsWhatItBeganWith() {
    WeightStore store = store();
    WeightSnapshot early = store.lease();
    WeightStore.Replacement replacement = store.replace(Map.of(0, c, 2, c));
    assertSame(a, early.weight(0));
    try (WeightSnapshot late = store.lease();
        WeightSnapshot before = replacement.leaseBefore()) {
      assertSame(c, late.weight(0));
      assertSame(b, late.weight(1));
      assertSame(a, before.weight(0));
    }
    replacement.keep();
    assertClosed(0, 0, 0, this);
    early.close();
    assertClosed(1, 0, 0, this);
    store.close();
    assertClosed(1, 1, 1, this);
  }

  @Test
  void undoneIsAsBefore() {
    WeightStore store = store();
    WeightStore.Replacement replacement = store.replace(Map.of(0, c));
    WeightSnapshot merged = store.lease();
    replacement.undo();
    replacement.undo();
    try (WeightSnapshot lease = store.lease()) {
      assertSame(a, lease.weight(0));
    }
    assertClosed(0, 0, 0, this);
    merged.close();
    assertClosed(0, 0, 1, this);
    assertThrows(AdapterStateException.class, replacement::leaseBefore);
    store.replace(Map.of()).undo();
    store.close();
    assertClosed(1, 1, 1, this);
  }

  @Test
  void oneReplacementAtATime() {
    WeightStore store = store();
    store.enter();
    WeightStore.Replacement replacement = store.replace(Map.of(0, c));
    assertThrows(AdapterStateException.class, () -> store.replace(Map.of()));
    AdapterStateException e = assertThrows(AdapterStateException.class, store::enter);
    assertTrue(String.valueOf(e.getMessage()).contains("merged into this base"), e.getMessage());
    assertEquals(1, store.wrappers());
    replacement.undo();
    store.enter();
    assertEquals(2, store.wrappers());
  }

  @Test
  void wrappersKeepAClosedBaseAlive() {
    WeightStore store = store();
    store.enter();
    store.close();
    assertClosed(0, 0, 0, this);
    assertThrows(AdapterStateException.class, store::lease);
    assertThrows(AdapterStateException.class, store::enter);
    assertThrows(AdapterStateException.class, () -> store.replace(Map.of()));
    store.leave();
    assertClosed(1, 1, 0, this);
  }

  @Test
  void aBaseClosedWhileMergedIsFreedWithTheModel() {
    WeightStore store = store();
    store.enter();
    WeightStore.Replacement replacement = store.replace(Map.of(0, c));
    store.close();
    assertClosed(0, 0, 0, this);
    replacement.undo();
    assertClosed(0, 0, 1, this);
    store.leave();
    assertClosed(1, 1, 1, this);
  }

  @Test
  void anOldPassOutlivesTheClosedBase() {
    WeightStore store = store();
    WeightSnapshot early = store.lease();
    store.replace(Map.of(0, c)).keep();
    store.close();
    // The weight that both generations share is still in use.
    assertClosed(0, 0, 0, this);
    early.close();
    assertClosed(1, 1, 1, this);
  }
}
