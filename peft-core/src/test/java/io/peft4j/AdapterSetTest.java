package io.peft4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The value that says which adapters act. */
final class AdapterSetTest {

  @Test
  void adaptersKeepTheirOrderAndStrength() {
    AdapterSet set = AdapterSet.of("b").and("a", -0.5);
    assertEquals(List.of("b", "a"), set.names());
    assertEquals(Map.of("b", 1f, "a", -0.5f), set.strengths());
    assertEquals(List.of(), set.rows());
    assertEquals("{b=1.0, a=-0.5}", set.toString());
  }

  @Test
  void setsAreValues() {
    assertEquals(AdapterSet.of("a", "b"), AdapterSet.none().and("a", 1).and("b", 1));
    assertEquals(AdapterSet.of("a").hashCode(), AdapterSet.of("a").hashCode());
    assertNotEquals(AdapterSet.of("a", "b"), AdapterSet.of("b", "a"));
    assertNotEquals(AdapterSet.of("a"), AdapterSet.none().and("a", 0.5));
    assertNotEquals(AdapterSet.of("a"), AdapterSet.rows("a"));
    assertEquals(AdapterSet.rows("a", "__base__"), AdapterSet.rows(List.of("a", AdapterSet.BASE)));
    AdapterSet before = AdapterSet.of("a");
    before.and("b", 1);
    assertEquals(AdapterSet.of("a"), before);
  }

  @Test
  void rowsNameEachAdapterOnce() {
    AdapterSet set = AdapterSet.rows("a", AdapterSet.BASE, "b", "a");
    assertEquals(List.of("a", "b"), set.names());
    assertEquals(List.of("a", AdapterSet.BASE, "b", "a"), set.rows());
    assertTrue(AdapterSet.rows(AdapterSet.BASE, AdapterSet.BASE).isNone());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "__base__",
        "a b",
        "a.b",
        "a/",
        "/b",
        "a/b/c",
        "a/b+b",
        "a/+b",
        "..",
        "é",
        "a\n"
      })
  void badNamesAreRefused(String name) {
    InvalidConfigException e =
        assertThrows(InvalidConfigException.class, () -> AdapterSet.checkName(name));
    assertTrue(String.valueOf(e.getMessage()).contains("'" + name + "'"), e.getMessage());
    assertThrows(InvalidConfigException.class, () -> AdapterSet.of(name));
    if (!name.equals(AdapterSet.BASE)) {
      assertThrows(InvalidConfigException.class, () -> AdapterSet.rows("a", name));
    }
  }

  @Test
  void whatMakesNoSenseIsRefused() {
    refused("'a' is named twice", () -> AdapterSet.of("a", "a"));
    refused("must be finite, was NaN", () -> AdapterSet.none().and("a", Double.NaN));
    refused("must be finite, was 1.0E300", () -> AdapterSet.none().and("a", 1e300));
    refused("takes no more", () -> AdapterSet.rows("a").and("b", 1));
    refused("at least one row", () -> AdapterSet.rows(List.of()));
  }

  private static void refused(String words, Runnable action) {
    InvalidConfigException e = assertThrows(InvalidConfigException.class, action::run);
    assertTrue(String.valueOf(e.getMessage()).contains(words), e.getMessage());
  }
}
