package io.peft4j.target;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.InvalidConfigException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

final class PatternTableTest {
  private static PatternTable<Integer> table(Object... entries) {
    Map<String, Integer> map = new LinkedHashMap<>();
    for (int i = 0; i < entries.length; i += 2) {
      map.put((String) entries[i], (Integer) entries[i + 1]);
    }
    return PatternTable.of("rank_pattern", map);
  }

  @Test
  void aKeyMatchesFromTheStartOrAfterADotUpToTheEnd() {
    PatternTable<Integer> table = table("q", 2);
    assertEquals(2, table.valueFor("q", 8));
    assertEquals(2, table.valueFor("a.0.q", 8));
    assertEquals(8, table.valueFor("a.0.not_q", 8));
    assertEquals(8, table.valueFor("a.q.b", 8));
    assertEquals(8, table.valueFor("a.q_proj", 8));
  }

  @Test
  void theFirstKeyThatMatchesDecides() {
    assertEquals(2, table("q", 2, "a.q", 3).valueFor("a.q", 8));
    assertEquals(3, table("a.q", 3, "q", 2).valueFor("a.q", 8));
    assertEquals(Optional.of("q"), table("k", 3, "q", 2, ".*", 1).key("a.q"));
    assertEquals(List.of("z", "a"), List.copyOf(table("z", 1, "a", 2).entries().keySet()));
  }

  @Test
  void keysAreExpressions() {
    PatternTable<Integer> table = table("layers\\.[01]\\..*", 2, "q|k", 3);
    assertEquals(Optional.of(2), table.find("model.layers.1.mlp.up"));
    assertEquals(Optional.of(3), table.find("model.layers.2.k"));
    assertEquals(Optional.empty(), table.find("model.layers.2.v"));
    assertEquals(8, table("^q", 2).valueFor("a.q", 8), "a caret holds only at the very start");
    assertEquals(2, table("^a.q", 2).valueFor("a.q", 8));
  }

  @Test
  void refusesAnInvalidKeyByName() {
    InvalidConfigException e =
        assertThrows(InvalidConfigException.class, () -> table("q", 2, "*.k", 3));
    assertTrue(e.getMessage().startsWith("rank_pattern key '*.k' is not a valid"), e.getMessage());
    assertThrows(InvalidConfigException.class, () -> table("(?i)q", 2));
  }

  @Test
  void isAValueWithAnOrder() {
    assertEquals(table("q", 2, "k", 3), table("q", 2, "k", 3));
    assertEquals(table("q", 2, "k", 3).hashCode(), table("q", 2, "k", 3).hashCode());
    assertNotEquals(table("q", 2, "k", 3), table("k", 3, "q", 2));
    assertNotEquals(table("q", 2), PatternTable.of("alpha_pattern", Map.of("q", 2)));
    assertTrue(PatternTable.empty("rank_pattern").isEmpty());
  }

  @Test
  void doesNotFollowTheMapItWasMadeFrom() {
    Map<String, Integer> map = new LinkedHashMap<>(Map.of("q", 2));
    PatternTable<Integer> table = PatternTable.of("rank_pattern", map);
    map.put("k", 3);
    assertEquals(Map.of("q", 2), table.entries());
    assertThrows(UnsupportedOperationException.class, () -> table.entries().clear());
  }
}
