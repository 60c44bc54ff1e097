package io.peft4j.qlora.block;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Products of few rows with packed weights, against sums in double over what is unpacked. */
final class RowProductTest {
  private static final int IN = 320;

  @Test
  void everyKernelMultipliesWhatItUnpacks() {
    List<BlockDecoder> decoders = new ArrayList<>(List.of(new PlainDecoder()));
    Decoders.vector().ifPresent(decoders::add);
    for (QuantType type : QuantType.values()) {
      for (Form form : List.of(Form.FLOAT32, Form.FLOAT32_OF_BFLOAT16, Form.FLOAT32_OF_FLOAT16)) {
        for (int rows : new int[] {1, 3}) {
          for (int block : new int[] {32, 64}) {
            for (BlockDecoder decoder : decoders) {
              check(decoder, type, form, rows, block, 7);
            }
          }
        }
      }
    }
  }

  @Test
  void threadsDivideLargeMatrices() {
    check(Decoders.best(), QuantType.NF4, Form.FLOAT32, 2, 64, 1001);
  }

  @Test
  void rowsMustBeWholeBlocks() {
    PackedBlocks blocks = Cases.quantize(QuantType.NF4, 128, true, new float[2 * IN]);
    assertFalse(blocks.hasRows(IN));
    assertTrue(blocks.hasRows(2 * IN));
  }

  private static void check(
      BlockDecoder decoder, QuantType type, Form form, int rows, int block, int out) {
    Random random = new Random(out + rows);
    PackedBlocks blocks = Cases.quantize(type, block, block == 64, normal(random, out * IN));
    float[] x = normal(random, rows * IN);
    float[] y = new float[rows * out];
    blocks.multiply(decoder, form, x, IN, y);
    ByteBuffer bytes =
        ByteBuffer.allocateDirect(out * IN * Float.BYTES).order(ByteOrder.nativeOrder());
    blocks.unpack(decoder, form, bytes, 0, out * IN);
    for (int row = 0; row < rows; row++) {
      for (int o = 0; o < out; o++) {
        double sum = 0;
        double size = 0;
        for (int i = 0; i < IN; i++) {
          double product = (double) bytes.getFloat((o * IN + i) * Float.BYTES) * x[row * IN + i];
          sum += product;
          size += Math.abs(product);
        }
        assertEquals(sum, y[row * out + o], 1e-6 * size, decoder.description() + " " + form);
      }
    }
  }

  private static float[] normal(Random random, int count) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }
}
