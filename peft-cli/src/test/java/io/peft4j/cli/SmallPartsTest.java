package io.peft4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.InvalidConfigException;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Sizes, ranges of paths, comparisons. */
final class SmallPartsTest {
  @Test
  void sizesAreReadAsTransformersReadsThem() {
    assertEquals(5_000_000_000L, Sizes.parse("--x", "5GB"));
    assertEquals(5L << 30, Sizes.parse("--x", "5GiB"));
    assertEquals(1_500_000, Sizes.parse("--x", "1.5 mb"));
    assertEquals(20_000, Sizes.parse("--x", "20k"));
    assertEquals(123, Sizes.parse("--x", "123"));
    for (String bad : new String[] {"", "-1", "GB", "5XB", "0", "99999999TB", "1e3"}) {
      assertThrows(InvalidConfigException.class, () -> Sizes.parse("--x", bad), bad);
    }
    assertEquals("25.1 GiB", Sizes.format(26_953_662_464.0));
    assertEquals("1.0 MiB", Sizes.format(1024 * 1024 - 1));
    assertEquals("17 B", Sizes.format(17));
  }

  @Test
  void pathsThatSayTheSameArePutTogether() {
    PathGroups groups = new PathGroups();
    for (int i = 0; i < 12; i++) {
      groups.add("layers." + i + ".q", List.of(i == 3 ? "other" : "same"));
    }
    groups.add("norm", List.of("same"));
    for (int i = 0; i < 2; i++) {
      for (int j = 0; j < 4; j++) {
        groups.add("layers." + i + ".experts." + j + ".up", List.of("same"));
      }
    }
    groups.add("a.0.b.0", List.of("same"));
    groups.add("a.1.b.1", List.of("same"));
    assertEquals(
        List.of(
            "layers.{0..2,4..11}.q",
            "layers.3.q",
            "norm",
            "layers.{0,1}.experts.{0..3}.up",
            "a.0.b.0",
            "a.1.b.1"),
        groups.rows().stream().map(PathGroups.Row::paths).toList());
  }

  @Test
  void errorsAreTheLargest() {
    float[] expected = {1, -2, 0, Float.POSITIVE_INFINITY};
    float[] computed = {1.5f, -2.25f, 0, Float.POSITIVE_INFINITY};
    Comparison comparison = Comparison.of(computed, expected, index -> true);
    assertEquals(new Comparison(0.5, 0.5), comparison);
    assertTrue(comparison.within(0.5));
    assertFalse(comparison.within(0.49));
    assertEquals(0.25, Comparison.of(computed, expected, index -> index > 0).absolute());
    computed[2] = Float.NaN;
    assertFalse(Comparison.of(computed, expected, index -> true).within(1e30));
    float[] infinite = {1, -2, 0, 0};
    assertFalse(Comparison.of(computed, infinite, index -> index == 3).within(1e30));
  }
}
