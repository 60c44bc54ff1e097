package io.peft4j.qlora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.qlora.block.QuantType;
import io.peft4j.state.TensorType;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Precision;
import org.junit.jupiter.api.Test;

final class FourBitWeightTest {

  @Test
  void fewRowsGiveTheProductOfTheUnpackedMatrix() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode off = GradMode.off();
        FourBitWeight weight = weight(manager, QuantType.NF4, new Shape(96, 128))) {
      NDArray bias = manager.randomNormal(new Shape(96));
      // One token, the tokens of a short prompt, two rows; the last is too many for the kernel.
      for (Shape shape :
          new Shape[] {
            new Shape(1, 1, 128),
            new Shape(1, 5, 128),
            new Shape(2, 128),
            new Shape(1, FourBitWeight.MOST_ROWS + 1, 128)
          }) {
        NDArray x = manager.randomNormal(shape);
        NDArray expected = Ops.linear(x, weight.dense(), bias);
        NDArray product = weight.linear(x, bias);
        assertEquals(expected.getShape(), product.getShape());
        NDArray size = Ops.linear(x.abs(), weight.dense().abs(), null);
        NDArray error = product.sub(expected).abs().div(size);
        assertTrue(error.max().getFloat() < 1e-5f, shape.toString());
      }
    }
  }

  @Test
  void productsThatARecordedPassNeedsAreTheEngines() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode on = GradMode.on();
        FourBitWeight weight = weight(manager, QuantType.FP4, new Shape(8, 64))) {
      NDArray x = manager.randomNormal(new Shape(1, 64));
      x.setRequiresGradient(true);
      NDArray y = weight.linear(x, null);
      JniUtils.backward((PtNDArray) y, (PtNDArray) y.onesLike(), false, false);
      assertArrayEquals(
          weight.dense().sum(new int[] {0}).toFloatArray(), x.getGradient().toFloatArray(), 1e-5f);
    }
  }

  @Test
  void freesWhatItMakes() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode off = GradMode.off();
        FourBitWeight weight = weight(manager, QuantType.NF4, new Shape(16, 64))) {
      NDArray x = manager.randomNormal(new Shape(1, 64));
      int arrays = manager.getManagedArrays().size();
      for (int i = 0; i < 20; i++) {
        try (NDScope scope = new NDScope()) {
          scope.suppressNotUsedWarning();
          weight.linear(x, null);
        }
      }
      assertEquals(arrays, manager.getManagedArrays().size());
    }
  }

  /**
   * bitsandbytes' bytes have 0.0729 and 0.00847, to as many digits: samples of a million values and
   * more give 0.07287 to 0.07291.
   */
  @Test
  void errorsOnNormalValuesAreWithinTheKnownBounds() {
    double[] nested = errors(QuantType.NF4, true);
    assertTrue(nested[0] < 0.07295, "mean absolute error " + nested[0]);
    assertTrue(nested[1] < 0.008475, "mean squared error " + nested[1]);
    assertTrue(errors(QuantType.NF4, false)[1] < errors(QuantType.FP4, false)[1]);
  }

  /** Mean absolute and mean squared error. */
  private static double[] errors(QuantType type, boolean nested) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode off = GradMode.off()) {
      manager.getEngine().setRandomSeed(1);
      NDArray values = manager.randomNormal(new Shape(1024, 1024));
      BitsAndBytesConfig config =
          BitsAndBytesConfig.builder().type(type).doubleQuantization(nested).build();
      try (QuantizedTensor tensor =
          QuantizedTensor.quantize(config, values, TensorType.F32, "normal")) {
        NDArray error = tensor.unpack(manager, TensorType.F32).sub(values);
        return new double[] {error.abs().mean().getFloat(), error.square().mean().getFloat()};
      }
    }
  }

  private static FourBitWeight weight(NDManager manager, QuantType type, Shape shape) {
    BitsAndBytesConfig config =
        BitsAndBytesConfig.builder().type(type).doubleQuantization(true).build();
    NDArray values = manager.randomNormal(shape);
    return FourBitWeight.of(
        QuantizedTensor.quantize(config, values, TensorType.F32, "weight"), Precision.FLOAT32);
  }
}
