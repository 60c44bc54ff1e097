package io.peft4j.qlora.block;

import io.peft4j.state.HalfPrecision;

/** The types of 16 bits. */
enum Half {
  BFLOAT16 {
    @Override
    int bits(float value) {
      return HalfPrecision.toBfloat16(value) & 0xffff;
    }
  },
  FLOAT16 {
    @Override
    int bits(float value) {
      return HalfPrecision.toFloat16(value) & 0xffff;
    }
  };

  /** The bits of the nearest value. */
  abstract int bits(float value);
}
