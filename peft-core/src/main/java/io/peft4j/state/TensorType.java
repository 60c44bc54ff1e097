package io.peft4j.state;

import ai.djl.ndarray.types.DataType;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The element types a safetensors file can hold, in the format's own order: a file's tensors lie in
 * descending order of it, so that wide elements stay aligned.
 *
 * <p>Values are little-endian. The 4- and 6-bit types are packed; a tensor of them fills whole
 * bytes.
 */
public enum TensorType {
  /** One byte, 0 or 1. */
  BOOL(8, DataType.BOOLEAN),
  /** 4-bit float, two to a byte. */
  F4(4, null),
  /** 6-bit float with two exponent bits. */
  F6_E2M3(6, null),
  /** 6-bit float with three exponent bits. */
  F6_E3M2(6, null),
  /** Unsigned byte. */
  U8(8, DataType.UINT8),
  /** Signed byte. */
  I8(8, DataType.INT8),
  /** 8-bit float with five exponent bits. */
  F8_E5M2(8, null),
  /** 8-bit float with four exponent bits. */
  F8_E4M3(8, null),
  /** 8-bit power of two, used as a block scale. */
  F8_E8M0(8, null),
  /** 8-bit float with four exponent bits, one zero and no infinity. */
  F8_E4M3FNUZ(8, null),
  /** 8-bit float with five exponent bits, one zero and no infinity. */
  F8_E5M2FNUZ(8, null),
  /** Signed 16-bit integer. */
  I16(16, null),
  /** Unsigned 16-bit integer. */
  U16(16, null),
  /** IEEE half precision. */
  F16(16, DataType.FLOAT16),
  /** The upper half of a float32. */
  BF16(16, null),
  /** Signed 32-bit integer. */
  I32(32, DataType.INT32),
  /** Unsigned 32-bit integer. */
  U32(32, null),
  /** Single precision. */
  F32(32, DataType.FLOAT32),
  /** Complex number of two float32. */
  C64(64, null),
  /** Double precision. */
  F64(64, DataType.FLOAT64),
  /** Signed 64-bit integer. */
  I64(64, DataType.INT64),
  /** Unsigned 64-bit integer. */
  U64(64, null);

  private static final Map<String, TensorType> BY_NAME = new HashMap<>();

  static {
    for (TensorType type : values()) {
      BY_NAME.put(type.name(), type);
    }
  }

  private final int bits;
  private final @Nullable DataType dataType;

  TensorType(int bits, @Nullable DataType dataType) {
    this.bits = bits;
    this.dataType = dataType;
  }

  /**
   * The width of one element.
   *
   * @return bits; a multiple of 8 for all but the packed types
   */
  public int bits() {
    return bits;
  }

  /**
   * The engine's type of the same values. Empty for what the engine cannot hold: it would end the
   * process rather than refuse BF16, I16, U16, U32 or U64.
   *
   * @return the engine's type
   */
  public Optional<DataType> dataType() {
    return Optional.ofNullable(dataType);
  }

  /**
   * Whether {@link TensorStore#float32} can read it.
   *
   * @return true for F16, BF16, F32 and F64
   */
  public boolean isFloat32Readable() {
    return this == F16 || this == BF16 || this == F32 || this == F64;
  }

  /**
   * The size of a tensor.
   *
   * @param elements number of elements, not negative
   * @return bytes
   * @throws ArithmeticException if that overflows a long, or a packed tensor ends inside a byte
   */
  public long bytes(long elements) {
    if (bits % 8 == 0) {
      return Math.multiplyExact(elements, (long) bits / 8);
    }
    long total = Math.multiplyExact(elements, (long) bits);
    if (total % 8 != 0) {
      throw new ArithmeticException(elements + " elements of " + bits + " bits end inside a byte");
    }
    return total / 8;
  }

  /**
   * The type that stores arrays of an engine type.
   *
   * @param dataType the engine's type
   * @return the type of the same values; empty if there is none
   */
  public static Optional<TensorType> of(DataType dataType) {
    for (TensorType type : values()) {
      if (type.dataType == dataType) {
        return Optional.of(type);
      }
    }
    return Optional.empty();
  }

  /**
   * Finds a type by the name that files use.
   *
   * @param name for example {@code BF16}; case counts
   * @return the type; empty if the format knows no such name
   */
  public static Optional<TensorType> named(String name) {
    return Optional.ofNullable(BY_NAME.get(name));
  }

  /**
   * Finds a type by the name people use: PyTorch's ({@code bfloat16}) or the file's, in any case.
   *
   * @param name for example {@code float32}, {@code float16}, {@code bfloat16} or {@code BF16}
   * @return the type; empty if the name is not known
   */
  public static Optional<TensorType> parse(String name) {
    String upper = name.toUpperCase(Locale.ROOT);
    String file =
        switch (upper) {
          case "FLOAT32", "FLOAT", "FP32" -> "F32";
          case "FLOAT16", "HALF", "FP16" -> "F16";
          case "BFLOAT16" -> "BF16";
          case "FLOAT64", "DOUBLE" -> "F64";
          default -> upper;
        };
    return named(file);
  }
}
