package io.peft4j.qlora.block;

import io.peft4j.state.DynamicMap;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Scales quantized once more, to 8 bits in blocks of {@value #BLOCK}: a scale is {@code
 * map[code]·largest + offset}, each step rounded to float32.
 *
 * @param codes a byte for each scale
 * @param largest the largest magnitude of each block, after the offset was taken off
 * @param map 256 values between -1 and 1, usually {@link DynamicMap#SIGNED}
 * @param offset the mean of all scales
 */
public record NestedScales(ByteBuffer codes, float[] largest, float[] map, float offset)
    implements Scales {
  /** How many scales share a scale of their own. */
  public static final int BLOCK = 256;

  /**
   * Quantizes.
   *
   * @param scales the scales
   * @param offset their mean, as the engine computes it in float32
   * @param codes takes a byte for each
   * @return the quantized scales
   */
  static NestedScales of(float[] scales, float offset, ByteBuffer codes) {
    float[] largest = new float[(scales.length + BLOCK - 1) / BLOCK];
    for (int block = 0; block < largest.length; block++) {
      int begin = block * BLOCK;
      int end = Math.min(begin + BLOCK, scales.length);
      float most = 0;
      for (int i = begin; i < end; i++) {
        most = Math.max(most, Math.abs(scales[i] - offset));
      }
      largest[block] = most;
      float inverse = 1 / most;
      for (int i = begin; i < end; i++) {
        float value = Math.max(-1, Math.min(1, (scales[i] - offset) * inverse));
        codes.put(i, most == 0 ? 0 : DynamicMap.SIGNED.code(value));
      }
    }
    return new NestedScales(codes, largest, DynamicMap.SIGNED.values(), offset);
  }

  @Override
  public int count() {
    return codes.limit();
  }

  @Override
  public void read(int first, int count, float[] to) {
    for (int i = 0; i < count; i++) {
      int block = first + i;
      to[i] = map[codes.get(block) & 0xff] * largest[block / BLOCK] + offset;
    }
  }

  /**
   * The scales' scales in a file's form.
   *
   * @return little-endian float32
   */
  public ByteBuffer largestBytes() {
    return littleEndian(largest);
  }

  /**
   * The map in a file's form.
   *
   * @return little-endian float32
   */
  public ByteBuffer mapBytes() {
    return littleEndian(map);
  }

  static ByteBuffer littleEndian(float[] values) {
    ByteBuffer bytes =
        ByteBuffer.allocate(values.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    return bytes;
  }

  /** The map is shared by all weights whose map is the usual one, and so not counted. */
  @Override
  public long bytes() {
    return codes.limit() + (long) largest.length * Float.BYTES;
  }
}
