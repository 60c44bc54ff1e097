package io.peft4j.qlora.block;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;

/**
 * Scales held as float32.
 *
 * @param values little-endian float32 from position 0
 */
public record PlainScales(ByteBuffer values) implements Scales {

  @Override
  public int count() {
    return values.limit() / Float.BYTES;
  }

  @Override
  public void read(int first, int count, float[] to) {
    FloatBuffer floats = values.duplicate().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer();
    floats.get(first, to, 0, count);
  }

  @Override
  public long bytes() {
    return values.limit();
  }
}
