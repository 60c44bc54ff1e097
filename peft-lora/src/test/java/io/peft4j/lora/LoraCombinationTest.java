package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.InvalidConfigException;
import io.peft4j.lora.LoraCombination.Type;
import java.util.List;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;

/** What a recipe accepts. */
class LoraCombinationTest {
  private static LoraCombination.Builder one() {
    return LoraCombination.builder().adapter("a", 1);
  }

  private static void refused(LoraCombination.Builder builder, String... parts) {
    String message = assertThrows(InvalidConfigException.class, builder::build).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
  }

  @Test
  void keepsWhatItIsGiven() {
    LoraCombination recipe =
        one().adapter("b", -0.5).type(Type.DARE_TIES_SVD).density(0.25).svdRank(4).seed(9).build();
    assertEquals(
        List.of(new LoraCombination.Part("a", 1), new LoraCombination.Part("b", -0.5)),
        recipe.parts());
    assertEquals(Type.DARE_TIES_SVD, recipe.type());
    assertEquals(OptionalDouble.of(0.25), recipe.density());
    assertEquals(OptionalInt.of(4), recipe.svdRank());
    assertEquals(OptionalInt.of(9), recipe.seed());
    assertEquals(Type.CAT, one().build().type());
  }

  @Test
  void typesHaveTheNamesOfPeft() {
    assertEquals(
        List.of(
            "cat",
            "svd",
            "linear",
            "ties",
            "ties_svd",
            "dare_linear",
            "dare_ties",
            "dare_linear_svd",
            "dare_ties_svd",
            "magnitude_prune",
            "magnitude_prune_svd"),
        List.of(Type.values()).stream().map(Type::key).toList());
    for (Type type : Type.values()) {
      assertEquals(type, Type.of(type.key()));
    }
    InvalidConfigException e = assertThrows(InvalidConfigException.class, () -> Type.of("average"));
    assertTrue(e.getMessage().contains("'average'"), e.getMessage());
    assertTrue(e.getMessage().contains("dare_linear_svd"), e.getMessage());
  }

  @Test
  void densityLiesAboveZeroUpToOne() {
    for (double density : new double[] {0, -0.1, 1.01, Double.NaN}) {
      refused(one().type(Type.TIES).density(density), "(0, 1]", String.valueOf(density));
    }
    assertEquals(1, one().type(Type.TIES).density(1).build().density().orElseThrow());
  }

  @Test
  void rulesThatDropValuesNeedADensity() {
    for (Type type : Type.values()) {
      boolean drops = !List.of(Type.CAT, Type.SVD, Type.LINEAR).contains(type);
      if (drops) {
        refused(one().type(type), type.key(), "density");
      } else {
        one().type(type).build();
      }
    }
  }

  @Test
  void otherNumbersAndNamesAreChecked() {
    refused(LoraCombination.builder(), "at least one adapter");
    refused(one().adapter("b", Double.NaN), "'b'", "finite");
    refused(one().adapter("no such.name", 1), "no such.name");
    refused(one().type(Type.SVD).svdRank(0), "svd_rank", "0");
  }
}
