package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.peft4j.torch.Ops;
import org.jspecify.annotations.Nullable;

/**
 * A frozen parameter: how it is stored is its own affair, and it multiplies activations in the way
 * that suits its storage. Safe for use by several threads; closed by the {@link WeightStore} that
 * holds it.
 */
public interface Weight extends AutoCloseable {

  /**
   * The shape of the parameter, whatever the storage.
   *
   * @return the shape
   */
  Shape shape();

  /**
   * The whole parameter in float32. A weight that is stored so gives the array it holds; others
   * make one. Either way the array is not the caller's to close: open an {@link
   * ai.djl.ndarray.NDScope} around its use, which closes what was made.
   *
   * @return float32 array of {@link #shape()}, not to be written to
   */
  NDArray dense();

  /**
   * Multiplies rows by this weight: x·Wᵀ + b.
   *
   * @param x float32 [..., in]
   * @param bias float32 [out], or null for none
   * @return float32 [..., out]
   */
  NDArray linear(NDArray x, @Nullable NDArray bias);

  /**
   * Multiplies rows by this weight where it is stored as [in, out]: x·W + b.
   *
   * @param x float32 [..., in]
   * @param bias float32 [out], or null for none
   * @return float32 [..., out]
   */
  default NDArray linearTransposed(NDArray x, @Nullable NDArray bias) {
    return Ops.linear(x, dense().transpose(), bias);
  }

  /**
   * Looks rows up.
   *
   * @param ids int64 indexes of any shape
   * @return float32 [ids..., dimension]
   */
  NDArray rows(NDArray ids);

  /**
   * Tells whether {@link #dense} gives the array that is held.
   *
   * @return false if an array is made for each call
   */
  default boolean holdsFloat32() {
    return false;
  }

  /**
   * How this weight is packed for products of few rows.
   *
   * @return the way; null if the weight is best used as it is
   */
  default @Nullable RowPacking rowPacking() {
    return null;
  }

  /**
   * Told when a pack has been made of this weight, which is used instead of it for products of few
   * rows. What need not stay in memory beside the pack may go.
   */
  default void packed() {}

  /**
   * A weight that takes this one's place with other values, for example merged ones, and computes
   * as this one does.
   *
   * @param values float32 array of {@link #shape()}, not attached to a manager that is closed
   *     earlier; the new weight closes it
   * @return the new weight; this one stays as it is
   */
  default Weight withValues(NDArray values) {
    return DenseWeight.owning(values);
  }

  /**
   * The bytes held, in memory or mapped, by this weight alone: packs that several weights share for
   * fused layers are as large again and not counted.
   *
   * @return number of bytes
   */
  long bytes();

  @Override
  void close();
}
