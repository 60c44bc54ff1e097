package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Precision;
import io.peft4j.torch.Scopes;
import org.jspecify.annotations.Nullable;

/**
 * A weight held as a float32 array. Where products are computed in bfloat16, copies are made when
 * they are first needed and kept: one in that type for products of many rows, one in float16 for
 * products of few, each half as large again.
 */
public final class DenseWeight implements Weight {
  private final NDArray array;
  private final boolean owned;
  private final Precision precision;
  private final FewRows fewRows = new FewRows(HalfPacking.INSTANCE);
  private final FewRows fewRowsTransposed = new FewRows(HalfPacking.TRANSPOSED);
  private @Nullable NDArray half;

  private DenseWeight(NDArray array, boolean owned, Precision precision) {
    this.array = array;
    this.owned = owned;
    this.precision = precision;
  }

  /**
   * A weight that closes its array when it is closed.
   *
   * @param array float32 array, not attached to a manager that is closed earlier
   * @return the weight
   */
  public static DenseWeight owning(NDArray array) {
    return owning(array, Precision.FLOAT32);
  }

  /**
   * A weight that closes its array when it is closed, with a choice of what products are computed
   * in.
   *
   * @param array float32 array, not attached to a manager that is closed earlier
   * @param precision what {@link #linear} computes in
   * @return the weight
   */
  public static DenseWeight owning(NDArray array, Precision precision) {
    return new DenseWeight(array, true, precision);
  }

  /**
   * A weight over an array that stays the caller's.
   *
   * @param array float32 array
   * @return the weight
   */
  public static DenseWeight of(NDArray array) {
    return new DenseWeight(array, false, Precision.FLOAT32);
  }

  @Override
  public Shape shape() {
    return array.getShape();
  }

  @Override
  public NDArray dense() {
    return array;
  }

  @Override
  public boolean holdsFloat32() {
    return true;
  }

  @Override
  public @Nullable RowPacking rowPacking() {
    return precision == Precision.BFLOAT16 ? HalfPacking.INSTANCE : null;
  }

  @Override
  public NDArray linear(NDArray x, @Nullable NDArray bias) {
    if (precision == Precision.FLOAT32) {
      return Ops.linear(x, array, bias);
    }
    NDArray few = fewRows.linear(x, this, bias);
    return few == null ? Ops.linearBfloat16(x, half(), bias) : few;
  }

  @Override
  public NDArray linearTransposed(NDArray x, @Nullable NDArray bias) {
    if (precision == Precision.FLOAT32) {
      return Ops.linear(x, array.transpose(), bias);
    }
    NDArray few = fewRowsTransposed.linear(x, this, bias);
    return few == null ? Ops.linearTransposedBfloat16(x, half(), bias) : few;
  }

  private synchronized NDArray half() {
    NDArray copy = half;
    if (copy == null) {
      try (GradMode off = GradMode.off()) {
        copy = Scopes.unmanaged(Ops.toBfloat16(array));
      }
      half = copy;
    }
    return copy;
  }

  @Override
  public Weight withValues(NDArray values) {
    return owning(values, precision);
  }

  @Override
  public NDArray rows(NDArray ids) {
    return JniUtils.embedding((PtNDArray) ids, (PtNDArray) array, false);
  }

  @Override
  public long bytes() {
    long values = array.getShape().size();
    synchronized (this) {
      return values * Float.BYTES
          + (half == null ? 0 : values * Short.BYTES)
          + fewRows.bytes(values)
          + fewRowsTransposed.bytes(values);
    }
  }

  @Override
  public synchronized void close() {
    fewRows.close();
    fewRowsTransposed.close();
    if (half != null) {
      half.close();
      half = null;
    }
    if (owned) {
      array.close();
    }
  }
}
