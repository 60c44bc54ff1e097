package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.torch.Ops;
import org.jspecify.annotations.Nullable;

/** A weight held as a float32 array. */
public final class DenseWeight implements Weight {
  private final NDArray array;
  private final boolean owned;

  private DenseWeight(NDArray array, boolean owned) {
    this.array = array;
    this.owned = owned;
  }

  /**
   * A weight that closes its array when it is closed.
   *
   * @param array float32 array, not attached to a manager that is closed earlier
   * @return the weight
   */
  public static DenseWeight owning(NDArray array) {
    return new DenseWeight(array, true);
  }

  /**
   * A weight over an array that stays the caller's.
   *
   * @param array float32 array
   * @return the weight
   */
  public static DenseWeight of(NDArray array) {
    return new DenseWeight(array, false);
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
  public NDArray linear(NDArray x, @Nullable NDArray bias) {
    return Ops.linear(x, array, bias);
  }

  @Override
  public NDArray rows(NDArray ids) {
    return JniUtils.embedding((PtNDArray) ids, (PtNDArray) array, false);
  }

  @Override
  public long bytes() {
    return array.getShape().size() * Float.BYTES;
  }

  @Override
  public void close() {
    if (owned) {
      array.close();
    }
  }
}
