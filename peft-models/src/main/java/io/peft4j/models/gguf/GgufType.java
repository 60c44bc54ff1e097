package io.peft4j.models.gguf;

import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * How the values of a tensor are packed in a GGUF file, as far as they are read.
 *
 * <p>A row (the last dimension of a shape) is cut into blocks of {@link #blockSize()} values, each
 * packed into {@link #blockBytes()} bytes. All numbers are little-endian; f16 is IEEE half
 * precision, i8 a signed and u8 an unsigned byte. {@code q[i]} is the number of value i of a block,
 * {@code x[i]} the value. Products and sums are taken in float32, in the order written.
 */
public enum GgufType {
  /** A float32 for each value. */
  F32(0, 1, 4),
  /** A half-precision number for each value. */
  F16(1, 1, 2),
  /**
   * 4 bits a value, symmetric: f16 d; 16 bytes. The low half of byte i is q[i], the high half is
   * q[16 + i]. {@code x = d * (q - 8)}.
   */
  Q4_0(2, 32, 18),
  /**
   * 4 bits a value with an offset: f16 d; f16 m; 16 bytes as in {@link #Q4_0}. {@code x = d * q +
   * m}.
   */
  Q4_1(3, 32, 20),
  /** 8 bits a value: f16 d; 32 i8 q. {@code x = d * q}. */
  Q8_0(8, 32, 34),
  /**
   * 4 bits a value in eight groups of 32: f16 d; f16 e; 12 bytes s; 128 bytes. Group g has a scale
   * and a minimum of 6 bits: for g below 4 the low 6 bits of s[g] and s[g + 4]; from 4 on the scale
   * is the low half of s[g + 4] and above it the top 2 bits of s[g - 4], the minimum the high half
   * of s[g + 4] and above it the top 2 bits of s[g]. Of the bytes 32k to 32k + 31 the low halves
   * are group 2k, the high halves group 2k + 1. {@code x = (d * scale) * q - (e * minimum)}.
   */
  Q4_K(12, 256, 144),
  /**
   * 6 bits a value in sixteen groups of 16: 128 bytes l; 64 bytes h; 16 i8 scales; f16 d. The two
   * halves of a block have 64 bytes of l and 32 of h each. In a half, value 32k + i (k from 0 to 3)
   * has its low 4 bits in the low (k below 2) or high half of l[32 * (k mod 2) + i], its high 2
   * bits in bits 2k and 2k + 1 of h[i]. {@code x = (d * scale) * (q - 32)}.
   */
  Q6_K(14, 256, 210),
  /** The upper 16 bits of a float32 for each value. */
  BF16(30, 1, 2);

  /** Types that the format knows and that are not read. */
  private static final Map<Integer, String> OTHERS =
      Map.ofEntries(
          Map.entry(4, "Q4_2"),
          Map.entry(5, "Q4_3"),
          Map.entry(6, "Q5_0"),
          Map.entry(7, "Q5_1"),
          Map.entry(9, "Q8_1"),
          Map.entry(10, "Q2_K"),
          Map.entry(11, "Q3_K"),
          Map.entry(13, "Q5_K"),
          Map.entry(15, "Q8_K"),
          Map.entry(16, "IQ2_XXS"),
          Map.entry(17, "IQ2_XS"),
          Map.entry(18, "IQ3_XXS"),
          Map.entry(19, "IQ1_S"),
          Map.entry(20, "IQ4_NL"),
          Map.entry(21, "IQ3_S"),
          Map.entry(22, "IQ2_S"),
          Map.entry(23, "IQ4_XS"),
          Map.entry(24, "I8"),
          Map.entry(25, "I16"),
          Map.entry(26, "I32"),
          Map.entry(27, "I64"),
          Map.entry(28, "F64"),
          Map.entry(29, "IQ1_M"),
          Map.entry(34, "TQ1_0"),
          Map.entry(35, "TQ2_0"),
          Map.entry(39, "MXFP4"),
          Map.entry(40, "NVFP4"),
          Map.entry(41, "Q1_0"));

  private final int id;
  private final int blockSize;
  private final int blockBytes;

  GgufType(int id, int blockSize, int blockBytes) {
    this.id = id;
    this.blockSize = blockSize;
    this.blockBytes = blockBytes;
  }

  /**
   * The number that files have for it.
   *
   * @return the type's number
   */
  public int id() {
    return id;
  }

  /**
   * The number of values that are packed together.
   *
   * @return values; 1 for the types that are not packed
   */
  public int blockSize() {
    return blockSize;
  }

  /**
   * The size of a block.
   *
   * @return bytes
   */
  public int blockBytes() {
    return blockBytes;
  }

  /**
   * The size of a tensor.
   *
   * @param elements number of values, a multiple of {@link #blockSize()}
   * @return bytes
   * @throws ArithmeticException if that overflows a long
   */
  public long bytes(long elements) {
    return Math.multiplyExact(elements / blockSize, (long) blockBytes);
  }

  /**
   * Finds a type by its number.
   *
   * @param id the number in the file
   * @return the type; empty if it is not read
   */
  public static Optional<GgufType> of(int id) {
    return Arrays.stream(values()).filter(type -> type.id == id).findFirst();
  }

  /** What a number means that is not read. */
  static String nameOf(int id) {
    String name = OTHERS.get(id);
    return name == null ? "with the unknown number " + Integer.toUnsignedString(id) : name;
  }

  /** The names of all types that are read. */
  static String all() {
    return Arrays.stream(values()).map(Enum::name).collect(Collectors.joining(", "));
  }
}
