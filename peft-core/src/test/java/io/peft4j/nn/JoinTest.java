package io.peft4j.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.target.ModelLayout;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class JoinTest {
  private static final Join JOIN = new Join("layer.0.output", null);

  /** Makes h + strength · factor · h of h, at one path. */
  private record Scaled(String path, float factor) implements Acting, JoinAdapter {
    @Override
    public @Nullable LayerAdapter layer(int slot) {
      return null;
    }

    @Override
    public @Nullable NDArray override(int index) {
      return null;
    }

    @Override
    public @Nullable JoinAdapter join(String at) {
      return at.equals(path) ? this : null;
    }

    @Override
    public NDArray act(JoinCall call) {
      return call.output().mul(1 + factor * call.strength());
    }

    @Override
    public String describe() {
      return "scaled";
    }
  }

  private static Segment segment(long begin, long end, Scaled... adapters) {
    float[] strengths = new float[adapters.length];
    Arrays.fill(strengths, 0.5f);
    return new Segment(begin, end, List.of(adapters), strengths);
  }

  private static float[] joined(Segment... segments) {
    try (NDManager manager = NDManager.newBaseManager();
        WeightStore store = WeightStore.of(ModelLayout.builder("none").build(), Map.of());
        WeightSnapshot weights = store.lease();
        Pass pass = new Pass(weights, List.of(segments), false)) {
      NDArray h = manager.create(new float[] {1, 2, 3, 4}, new Shape(2, 2));
      NDArray x = manager.create(new float[] {10, 20, 30, 40}, new Shape(2, 2));
      return JOIN.forward(pass, h, x).toFloatArray();
    }
  }

  private static boolean plain(Segment segment) {
    try (WeightStore store = WeightStore.of(ModelLayout.builder("none").build(), Map.of());
        WeightSnapshot weights = store.lease();
        Pass pass = new Pass(weights, List.of(segment), false)) {
      return JOIN.isPlain(pass);
    }
  }

  @Test
  void anAdapterActsAtItsJoinAndNowhereElse() {
    assertArrayEquals(
        new float[] {13, 26, 39, 52}, joined(segment(0, 2, new Scaled(JOIN.path(), 4))));
    assertArrayEquals(new float[] {11, 22, 33, 44}, joined(segment(0, 2, new Scaled("else", 4))));
  }

  @Test
  void rowsHaveTheirOwnAdapters() {
    assertArrayEquals(
        new float[] {11, 22, 39, 52},
        joined(segment(0, 1), segment(1, 2, new Scaled(JOIN.path(), 4))));
  }

  @Test
  void fusedFormsAreToldOfAnAdapter() {
    assertFalse(plain(segment(0, 2, new Scaled(JOIN.path(), 4))));
    assertTrue(plain(segment(0, 2, new Scaled("else", 4))));
  }

  @Test
  void twoAtOneJoinActOneAfterTheOther() {
    Scaled first = new Scaled(JOIN.path(), 4);
    Scaled second = new Scaled(JOIN.path(), 2);
    assertArrayEquals(
        new float[] {1 * 6 + 10, 2 * 6 + 20, 3 * 2 + 30, 4 * 2 + 40},
        joined(segment(0, 1, first, second), segment(1, 2, second)));
  }
}
