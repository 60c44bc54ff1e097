package io.peft4j.qlora.block;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * The loops with the Vector API: a block's 16 values lie in one register (or two, where registers
 * have 256 bits), and codes look them up all at once. Loaded by {@link Decoders} only where the
 * incubating module is there.
 *
 * <p>Only what the API has had unchanged from Java 17 on is used.
 */
final class VectorDecoder implements BlockDecoder {
  private static final boolean WIDE = IntVector.SPECIES_PREFERRED.length() >= QuantType.CODES;
  private static final VectorSpecies<Integer> INTS =
      WIDE ? IntVector.SPECIES_512 : IntVector.SPECIES_256;
  private static final VectorSpecies<Float> FLOATS =
      WIDE ? FloatVector.SPECIES_512 : FloatVector.SPECIES_256;
  private static final VectorSpecies<Byte> BYTES =
      WIDE ? ByteVector.SPECIES_128 : ByteVector.SPECIES_64;
  private static final int LANES = INTS.length();
  private static final int HALF_CODES = QuantType.CODES / 2;

  /** How far a lane's code is to be shifted down: of each byte, the high half comes first. */
  private static final IntVector SHIFTS =
      IntVector.fromArray(
          INTS, new int[] {4, 0, 12, 8, 20, 16, 28, 24, 4, 0, 12, 8, 20, 16, 28, 24}, 0);

  /** The lanes that take their codes from the second four bytes. */
  private static final VectorMask<Integer> SECOND = VectorMask.fromLong(INTS, 0xff00);

  private static final VarHandle INT =
      MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);

  /** Made by reflection. */
  VectorDecoder() {}

  /** Whether this machine's registers are wide enough. */
  static boolean isUseful() {
    return IntVector.SPECIES_PREFERRED.length() >= HALF_CODES;
  }

  @Override
  public String description() {
    return "the Vector API, " + INTS.vectorBitSize() + " bits";
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
    float[] codes = type.codes();
    int[] table = new int[QuantType.CODES];
    int bytes = blockSize / 2;
    for (int block = 0; block < blocks; block++) {
      IntVector low;
      IntVector high;
      if (form == Form.FLOAT32) {
        low = values(codes, 0, scales[block]).reinterpretAsInts();
        high = WIDE ? low : values(codes, HALF_CODES, scales[block]).reinterpretAsInts();
      } else if (rounded(form) && Float.isFinite(scales[block])) {
        low = bfloat16(values(codes, 0, scales[block]));
        high = WIDE ? low : bfloat16(values(codes, HALF_CODES, scales[block]));
        if (!form.half()) {
          low = low.lanewise(VectorOperators.LSHL, 16);
          high = high.lanewise(VectorOperators.LSHL, 16);
        }
      } else {
        PlainDecoder.fill(table, type, form, scales[block]);
        low = IntVector.fromArray(INTS, table, 0);
        high = WIDE ? low : IntVector.fromArray(INTS, table, HALF_CODES);
      }
      if (form.half()) {
        halves(packed, block * bytes, (block + 1) * bytes, low, high, to);
      } else {
        wide(packed, block * bytes, (block + 1) * bytes, low, high, to);
      }
    }
  }

  @Override
  public float dot(int[] bits, float[] x, int begin, int count) {
    FloatVector even = FloatVector.zero(FLOATS);
    FloatVector odd = FloatVector.zero(FLOATS);
    for (int i = 0; i < count; i += 2 * LANES) {
      FloatVector first = IntVector.fromArray(INTS, bits, i).reinterpretAsFloats();
      FloatVector second = IntVector.fromArray(INTS, bits, i + LANES).reinterpretAsFloats();
      even = FloatVector.fromArray(FLOATS, x, begin + i).fma(first, even);
      odd = FloatVector.fromArray(FLOATS, x, begin + i + LANES).fma(second, odd);
    }
    return even.add(odd).reduceLanes(VectorOperators.ADD);
  }

  private static void wide(
      byte[] packed, int begin, int end, IntVector low, IntVector high, int[] to) {
    for (int at = begin; at < end; at += LANES / 2) {
      IntVector bytes = IntVector.broadcast(INTS, (int) INT.get(packed, at));
      if (WIDE) {
        bytes = bytes.blend((int) INT.get(packed, at + Integer.BYTES), SECOND);
      }
      IntVector index = bytes.lanewise(VectorOperators.LSHR, SHIFTS).and(15);
      look(index, low, high).intoArray(to, 2 * at);
    }
  }

  private static void halves(
      byte[] packed, int begin, int end, IntVector low, IntVector high, int[] to) {
    for (int at = begin; at < end; at += LANES) {
      // Extending without signs fails in Java 17's interpreter; the masks take them off again.
      IntVector pairs = (IntVector) ByteVector.fromArray(BYTES, packed, at).castShape(INTS, 0);
      IntVector first = look(pairs.lanewise(VectorOperators.LSHR, 4).and(15), low, high);
      IntVector second = look(pairs.and(15), low, high);
      first.or(second.lanewise(VectorOperators.LSHL, 16)).intoArray(to, at);
    }
  }

  private static FloatVector values(float[] codes, int from, float scale) {
    return FloatVector.fromArray(FLOATS, codes, from).mul(scale);
  }

  private static IntVector look(IntVector index, IntVector low, IntVector high) {
    if (WIDE) {
      return index.selectFrom(low);
    }
    IntVector within = index.and(HALF_CODES - 1);
    return within
        .selectFrom(low)
        .blend(within.selectFrom(high), index.compare(VectorOperators.GT, HALF_CODES - 1));
  }

  private static boolean rounded(Form form) {
    return form == Form.BFLOAT16 || form == Form.FLOAT32_OF_BFLOAT16;
  }

  /** Rounds to the nearest, ties to even, as {@link io.peft4j.state.HalfPrecision} does. */
  private static IntVector bfloat16(FloatVector values) {
    IntVector bits = values.reinterpretAsInts();
    IntVector odd = bits.lanewise(VectorOperators.LSHR, 16).and(1);
    return bits.add(0x7fff).add(odd).lanewise(VectorOperators.LSHR, 16);
  }
}
