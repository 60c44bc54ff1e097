package io.peft4j.qlora.block;

import io.peft4j.state.HalfPrecision;

/**
 * What becomes of a product of code and scale. A weight that was made of 16-bit values is defined
 * in that type, so its products are rounded to it first, whatever they are computed with later.
 */
public enum Form {
  /** float32 as it is. */
  FLOAT32(false) {
    @Override
    int bits(float value) {
      return Float.floatToRawIntBits(value);
    }
  },
  /** Rounded to bfloat16, in float32. */
  FLOAT32_OF_BFLOAT16(false) {
    @Override
    int bits(float value) {
      return HalfPrecision.toBfloat16(value) << 16;
    }
  },
  /** Rounded to float16, in float32. */
  FLOAT32_OF_FLOAT16(false) {
    @Override
    int bits(float value) {
      return Float.floatToRawIntBits(roundedToFloat16(value));
    }
  },
  /** bfloat16. */
  BFLOAT16(true) {
    @Override
    int bits(float value) {
      return HalfPrecision.toBfloat16(value) & 0xffff;
    }
  },
  /** Rounded to float16, then to bfloat16. */
  BFLOAT16_OF_FLOAT16(true) {
    @Override
    int bits(float value) {
      return HalfPrecision.toBfloat16(roundedToFloat16(value)) & 0xffff;
    }
  },
  /** float16. */
  FLOAT16(true) {
    @Override
    int bits(float value) {
      return HalfPrecision.toFloat16(value) & 0xffff;
    }
  };

  private final boolean half;

  Form(boolean half) {
    this.half = half;
  }

  /**
   * Whether values take 16 bits.
   *
   * @return false for 32
   */
  public boolean half() {
    return half;
  }

  /**
   * What a value takes.
   *
   * @return bytes
   */
  public int bytes() {
    return half ? Short.BYTES : Float.BYTES;
  }

  /** The bits of a value. */
  abstract int bits(float value);

  private static float roundedToFloat16(float value) {
    return HalfPrecision.fromFloat16(HalfPrecision.toFloat16(value));
  }
}
