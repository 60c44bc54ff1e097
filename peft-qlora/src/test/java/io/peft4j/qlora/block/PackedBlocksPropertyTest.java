package io.peft4j.qlora.block;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.FloatRange;
import net.jqwik.api.constraints.Size;

/** What holds of all values in 4 bits. */
final class PackedBlocksPropertyTest {

  @Provide
  Arbitrary<Integer> blockSizes() {
    return Arbitraries.of(PackedBlocks.BLOCK_SIZES);
  }

  private static float[] unpack(PackedBlocks blocks) {
    float[] values = new float[(int) blocks.count()];
    ByteBuffer.wrap(Cases.unpack(blocks, Form.FLOAT32, new PlainDecoder()))
        .order(ByteOrder.nativeOrder())
        .asFloatBuffer()
        .get(values);
    return values;
  }

  @Property(tries = 300)
  void quantizingWhatWasUnpackedChangesNothing(
      @ForAll @Size(min = 1, max = 500) float[] drawn,
      @ForAll QuantType type,
      @ForAll("blockSizes") int blockSize) {
    float[] values = bounded(drawn);
    PackedBlocks once = Cases.quantize(type, blockSize, false, values);
    float[] unpacked = unpack(once);
    assertArrayEquals(unpacked, unpack(Cases.quantize(type, blockSize, false, unpacked)));
  }

  @Property(tries = 300)
  void noValueIsFurtherOffThanHalfTheWidestStep(
      @ForAll @Size(min = 1, max = 300) float[] drawn, @ForAll("blockSizes") int blockSize) {
    float[] values = bounded(drawn);
    float[] unpacked = unpack(Cases.quantize(QuantType.NF4, blockSize, false, values));
    for (int begin = 0; begin < values.length; begin += blockSize) {
      int end = Math.min(begin + blockSize, values.length);
      float most = 0;
      for (int i = begin; i < end; i++) {
        most = Math.max(most, Math.abs(values[i]));
      }
      for (int i = begin; i < end; i++) {
        // From -1 to -0.696.
        assertTrue(Math.abs(values[i] - unpacked[i]) <= 0.1520f * most, "value " + i);
      }
    }
  }

  @Property(tries = 200)
  void allKernelsGiveTheSameBits(
      @ForAll @Size(min = 1, max = 500) float[] drawn,
      @ForAll QuantType type,
      @ForAll Form form,
      @ForAll boolean nested,
      @ForAll("blockSizes") int blockSize) {
    PackedBlocks blocks = Cases.quantize(type, blockSize, nested, bounded(drawn));
    assertArrayEquals(
        Cases.unpack(blocks, form, new PlainDecoder()),
        Cases.unpack(blocks, form, Decoders.vector().orElseGet(PlainDecoder::new)));
  }

  @Property(tries = 200)
  void bytesAreWhatTheFormatSays(
      @ForAll @Size(min = 1, max = 2000) float[] drawn,
      @ForAll boolean nested,
      @ForAll("blockSizes") int blockSize) {
    PackedBlocks blocks = Cases.quantize(QuantType.NF4, blockSize, nested, bounded(drawn));
    int scales = (drawn.length + blockSize - 1) / blockSize;
    int expected = (drawn.length + 1) / 2;
    expected += nested ? scales + (scales + 255) / 256 * Float.BYTES : scales * Float.BYTES;
    assertEquals(expected, blocks.bytes());
    assertEquals(scales, blocks.scales().count());
  }

  @Property
  void theCodeIsTheNearestOne(
      @ForAll @FloatRange(min = -1, max = 1) float value, @ForAll QuantType type) {
    float chosen = Math.abs(type.value(type.code(value)) - value);
    for (float code : type.codes()) {
      assertTrue(chosen <= Math.abs(code - value) + 1e-7f, value + " " + code);
    }
  }

  /** Magnitudes whose scales and products neither overflow nor lose bits. */
  private static float[] bounded(float[] drawn) {
    float[] values = new float[drawn.length];
    for (int i = 0; i < values.length; i++) {
      float value = drawn[i];
      boolean kept = Math.abs(value) >= 1e-20f && Math.abs(value) <= 1e20f;
      values[i] = kept ? value : 0;
    }
    return values;
  }
}
