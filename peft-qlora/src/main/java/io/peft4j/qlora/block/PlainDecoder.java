package io.peft4j.qlora.block;

/** Straight loops: for each block the 16 values it can have, then a look-up for each code. */
final class PlainDecoder implements BlockDecoder {

  @Override
  public String description() {
    return "plain Java";
  }

  @Override
  public void float32(
      QuantType type, byte[] packed, int blocks, float[] scales, int blockSize, float[] to) {
    float[] table = new float[QuantType.CODES];
    int bytes = blockSize / 2;
    for (int block = 0; block < blocks; block++) {
      for (int code = 0; code < table.length; code++) {
        table[code] = type.value(code) * scales[block];
      }
      int from = block * bytes;
      for (int at = from; at < from + bytes; at++) {
        int pair = packed[at];
        to[2 * at] = table[(pair >> 4) & 15];
        to[2 * at + 1] = table[pair & 15];
      }
    }
  }

  @Override
  public void half(
      QuantType type,
      Half half,
      byte[] packed,
      int blocks,
      float[] scales,
      int blockSize,
      int[] to) {
    int[] table = new int[QuantType.CODES];
    int bytes = blockSize / 2;
    for (int block = 0; block < blocks; block++) {
      for (int code = 0; code < table.length; code++) {
        table[code] = half.bits(type.value(code) * scales[block]);
      }
      int from = block * bytes;
      for (int at = from; at < from + bytes; at++) {
        int pair = packed[at];
        to[at] = table[(pair >> 4) & 15] | (table[pair & 15] << 16);
      }
    }
  }
}
