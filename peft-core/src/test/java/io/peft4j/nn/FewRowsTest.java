package io.peft4j.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.Shape;
import io.peft4j.state.TensorType;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Precision;
import io.peft4j.torch.Scopes;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Packed products of few rows. */
class FewRowsTest {
  private static final int IN = 64;
  private static final int OUT = 48;

  private static float error(NDArray expected, NDArray actual) {
    return expected.sub(actual).abs().max().getFloat() / expected.abs().max().getFloat();
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void weightsOfSixteenBitsAreMultipliedExactly(boolean bfloat) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      NDArray wide = manager.randomNormal(new Shape(OUT, IN));
      NDArray half = Scopes.unmanaged(bfloat ? Ops.toBfloat16(wide) : Ops.toFloat16(wide));
      try (HalfWeight weight =
          new HalfWeight(half, bfloat ? TensorType.BF16 : TensorType.F16, Precision.BFLOAT16)) {
        NDArray bias = manager.randomNormal(new Shape(OUT));
        long before = weight.bytes();
        for (int time = 0; time < 3; time++) {
          NDArray x = manager.randomNormal(new Shape(3, 1, IN));
          NDArray y = weight.linear(x, bias);
          assertEquals(new Shape(3, 1, OUT), y.getShape());
          // The first product is by the weight as it is held, in bfloat16.
          float most = time == 0 ? 2e-2f : 2e-6f;
          assertTrue(error(Ops.linear(x, weight.dense(), bias), y) < most);
        }
        assertEquals(before + 2L * OUT * IN, weight.bytes());
      }
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void weightsStoredTheOtherWayRoundArePackedAsWell(boolean stored) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      NDArray wide = manager.randomNormal(new Shape(IN, OUT));
      try (Weight weight =
          stored
              ? new HalfWeight(
                  Scopes.unmanaged(Ops.toBfloat16(wide)), TensorType.BF16, Precision.BFLOAT16)
              : DenseWeight.owning(Scopes.unmanaged(wide.duplicate()), Precision.BFLOAT16)) {
        NDArray bias = manager.randomNormal(new Shape(OUT));
        long before = weight.bytes();
        for (int time = 0; time < 3; time++) {
          NDArray x = manager.randomNormal(new Shape(3, 1, IN));
          NDArray expected = Ops.linear(x, weight.dense().transpose(), bias);
          // The first product is in bfloat16, and so are products of many rows.
          float most = time == 0 ? 2e-2f : stored ? 2e-6f : 2e-3f;
          assertTrue(error(expected, weight.linearTransposed(x, bias)) < most, "time " + time);
        }
        long copy = stored ? 0 : 2L * IN * OUT;
        assertEquals(before + copy + 2L * IN * OUT, weight.bytes());
        NDArray many = manager.randomNormal(new Shape(2, 40, IN));
        NDArray expected = Ops.linear(many, weight.dense().transpose(), null);
        float rough = error(expected, weight.linearTransposed(many, null));
        assertTrue(rough > 1e-5f && rough < 2e-2f, "error " + rough);
      }
    }
  }

  /** The operator that packs would cut off what float16 cannot hold, in the weight itself. */
  @Test
  void whatCannotBePackedStaysAsItIs() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      NDArray wide = manager.randomNormal(new Shape(OUT, IN));
      wide.set(new ai.djl.ndarray.index.NDIndex(0, 0), 1e5f);
      float[] before = wide.toFloatArray();
      try (DenseWeight weight = DenseWeight.owning(Scopes.unmanaged(wide), Precision.BFLOAT16)) {
        for (int time = 0; time < 3; time++) {
          NDArray x = manager.ones(new Shape(1, 1, IN));
          NDArray y = weight.linear(x, null);
          assertTrue(error(Ops.linear(x, weight.dense(), null), y) < 2e-2f);
        }
        assertArrayEquals(before, weight.dense().toFloatArray());
      }
    }
  }
}
