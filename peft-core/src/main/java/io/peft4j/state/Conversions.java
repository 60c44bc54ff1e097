package io.peft4j.state;

import io.peft4j.PeftException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.stream.IntStream;

/** Bulk conversions between what files hold and float32 memory, on all cores. */
final class Conversions {
  /** Elements one task converts: large enough to be worth a task, small enough to share out. */
  private static final int TASK = 1 << 18;

  /** Elements that go through heap arrays at once; they stay in the first-level cache. */
  private static final int BLOCK = 2048;

  private Conversions() {}

  /**
   * Converts floating-point bytes to float32, both from position 0; destination in native order.
   */
  static void toFloat32(TensorType type, ByteBuffer source, ByteBuffer destination, int elements) {
    int tasks = (elements + TASK - 1) / TASK;
    IntStream.range(0, tasks)
        .parallel()
        .forEach(
            task -> {
              int first = task * TASK;
              int count = Math.min(TASK, elements - first);
              widen(type, source, destination, first, count);
            });
  }

  private static void widen(
      TensorType type, ByteBuffer source, ByteBuffer destination, int first, int count) {
    int width = type.bits() / 8;
    ByteBuffer from = source.slice(first * width, count * width).order(ByteOrder.LITTLE_ENDIAN);
    FloatBuffer to =
        destination
            .slice(first * Float.BYTES, count * Float.BYTES)
            .order(ByteOrder.nativeOrder())
            .asFloatBuffer();
    switch (type) {
      case F32 -> to.put(from.asFloatBuffer());
      case F16, BF16 -> {
        short[] halves = new short[BLOCK];
        float[] floats = new float[BLOCK];
        var input = from.asShortBuffer();
        while (input.hasRemaining()) {
          int n = Math.min(BLOCK, input.remaining());
          input.get(halves, 0, n);
          if (type == TensorType.F16) {
            for (int i = 0; i < n; i++) {
              floats[i] = HalfPrecision.fromFloat16(halves[i]);
            }
          } else {
            for (int i = 0; i < n; i++) {
              floats[i] = HalfPrecision.fromBfloat16(halves[i]);
            }
          }
          to.put(floats, 0, n);
        }
      }
      case F64 -> {
        double[] doubles = new double[BLOCK];
        float[] floats = new float[BLOCK];
        var input = from.asDoubleBuffer();
        while (input.hasRemaining()) {
          int n = Math.min(BLOCK, input.remaining());
          input.get(doubles, 0, n);
          for (int i = 0; i < n; i++) {
            floats[i] = (float) doubles[i];
          }
          to.put(floats, 0, n);
        }
      }
      default -> throw new PeftException(type + " is not widened to float32");
    }
  }

  /** Converts all remaining float32 values and puts them as little-endian bytes of a type. */
  static void fromFloat32(FloatBuffer source, TensorType type, ByteBuffer destination) {
    float[] floats = new float[BLOCK];
    while (source.hasRemaining()) {
      int n = Math.min(BLOCK, source.remaining());
      source.get(floats, 0, n);
      switch (type) {
        case F16 -> {
          for (int i = 0; i < n; i++) {
            destination.putShort(HalfPrecision.toFloat16(floats[i]));
          }
        }
        case BF16 -> {
          for (int i = 0; i < n; i++) {
            destination.putShort(HalfPrecision.toBfloat16(floats[i]));
          }
        }
        case F32 -> {
          for (int i = 0; i < n; i++) {
            destination.putFloat(floats[i]);
          }
        }
        case F64 -> {
          for (int i = 0; i < n; i++) {
            destination.putDouble(floats[i]);
          }
        }
        default -> throw new PeftException("float32 values are not written as " + type);
      }
    }
  }
}
