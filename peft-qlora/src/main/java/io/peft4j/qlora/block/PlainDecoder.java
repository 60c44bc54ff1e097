package io.peft4j.qlora.block;

/** Straight loops: for each block the 16 values it can have, then a look-up for each code. */
final class PlainDecoder implements BlockDecoder {

  @Override
  public String description() {
    return "plain Java";
  }

  @Override
  public void unpack(
      QuantType type,
      Form form,
      byte[] packed,
      int blocks,
      float[] scales,
      int blockSize,
      int[] to) {
    int[] table = new int[QuantType.CODES];
    int bytes = blockSize / 2;
    for (int block = 0; block < blocks; block++) {
      fill(table, type, form, scales[block]);
      if (form.half()) {
        halves(table, packed, block * bytes, (block + 1) * bytes, to);
      } else {
        wide(table, packed, block * bytes, (block + 1) * bytes, to);
      }
    }
  }

  @Override
  public float dot(int[] bits, float[] x, int begin, int count) {
    // Several sums, so that none has to wait for the one before.
    float first = 0;
    float second = 0;
    float third = 0;
    float fourth = 0;
    for (int i = 0; i < count; i += 4) {
      first += Float.intBitsToFloat(bits[i]) * x[begin + i];
      second += Float.intBitsToFloat(bits[i + 1]) * x[begin + i + 1];
      third += Float.intBitsToFloat(bits[i + 2]) * x[begin + i + 2];
      fourth += Float.intBitsToFloat(bits[i + 3]) * x[begin + i + 3];
    }
    return (first + second) + (third + fourth);
  }

  /** The bits of all values that a block can have. */
  static void fill(int[] table, QuantType type, Form form, float scale) {
    for (int code = 0; code < table.length; code++) {
      table[code] = form.bits(type.value(code) * scale);
    }
  }

  private static void wide(int[] table, byte[] packed, int begin, int end, int[] to) {
    for (int at = begin; at < end; at++) {
      int pair = packed[at];
      to[2 * at] = table[(pair >> 4) & 15];
      to[2 * at + 1] = table[pair & 15];
    }
  }

  private static void halves(int[] table, byte[] packed, int begin, int end, int[] to) {
    for (int at = begin; at < end; at++) {
      int pair = packed[at];
      to[at] = table[(pair >> 4) & 15] | (table[pair & 15] << 16);
    }
  }
}
