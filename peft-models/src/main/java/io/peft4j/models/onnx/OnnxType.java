package io.peft4j.models.onnx;

import java.util.Optional;

/** The element types of ONNX tensors ({@code TensorProto.DataType}). */
public enum OnnxType {
  /** IEEE 754 single precision. */
  FLOAT(1, 32),
  /** Unsigned 8-bit integer. */
  UINT8(2, 8),
  /** Signed 8-bit integer. */
  INT8(3, 8),
  /** Unsigned 16-bit integer. */
  UINT16(4, 16),
  /** Signed 16-bit integer. */
  INT16(5, 16),
  /** Signed 32-bit integer. */
  INT32(6, 32),
  /** Signed 64-bit integer. */
  INT64(7, 64),
  /** Byte strings of any length; their values are not read. */
  STRING(8, 0),
  /** One byte, zero or one. */
  BOOL(9, 8),
  /** IEEE 754 half precision. */
  FLOAT16(10, 16),
  /** IEEE 754 double precision. */
  DOUBLE(11, 64),
  /** Unsigned 32-bit integer. */
  UINT32(12, 32),
  /** Unsigned 64-bit integer. */
  UINT64(13, 64),
  /** Two floats. */
  COMPLEX64(14, 64),
  /** Two doubles. */
  COMPLEX128(15, 128),
  /** The upper half of a float. */
  BFLOAT16(16, 16),
  /** 8-bit float, 4 exponent bits, finite. */
  FLOAT8E4M3FN(17, 8),
  /** 8-bit float, 4 exponent bits, finite, no negative zero. */
  FLOAT8E4M3FNUZ(18, 8),
  /** 8-bit float, 5 exponent bits. */
  FLOAT8E5M2(19, 8),
  /** 8-bit float, 5 exponent bits, finite, no negative zero. */
  FLOAT8E5M2FNUZ(20, 8),
  /** Unsigned 4-bit integer, two a byte. */
  UINT4(21, 4),
  /** Signed 4-bit integer, two a byte. */
  INT4(22, 4),
  /** 4-bit float, two a byte. */
  FLOAT4E2M1(23, 4),
  /** 8-bit exponent without mantissa. */
  FLOAT8E8M0(24, 8);

  private final int code;
  private final int bits;

  OnnxType(int code, int bits) {
    this.code = code;
    this.bits = bits;
  }

  /**
   * The size of one element.
   *
   * @return bits, 0 for {@link #STRING}
   */
  public int bits() {
    return bits;
  }

  /**
   * The type's number in files.
   *
   * @return {@code TensorProto.DataType}
   */
  public int code() {
    return code;
  }

  static Optional<OnnxType> ofCode(long code) {
    for (OnnxType type : values()) {
      if (type.code == code) {
        return Optional.of(type);
      }
    }
    return Optional.empty();
  }
}
