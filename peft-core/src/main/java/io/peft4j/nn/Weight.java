package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.state.SafeTensorsWriter;
import io.peft4j.state.TensorType;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Precision;
import java.util.List;
import java.util.Optional;
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
   * What {@link #linear} computes products of many rows in.
   *
   * @return float32 if it is not said otherwise
   */
  default Precision precision() {
    return Precision.FLOAT32;
  }

  /**
   * The parameter in the floating-point type in which it is cheapest to have, for kernels that
   * convert it piece by piece to what they compute in. As {@link #dense}, it is not the caller's to
   * close.
   *
   * @return float32, float16 or bfloat16 array of {@link #shape()}: for kernels alone
   */
  default NDArray source() {
    return dense();
  }

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
   * Told when a kernel has read what {@link #source} gave. What need not stay in memory may go
   * until it is asked for again.
   */
  default void sourceRead() {}

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
   * A weight that takes this one's place with other values and is packed as this one is. Only where
   * {@link #stored} says that this one is packed.
   *
   * @param values finite float32 array of {@link #shape()}; stays the caller's
   * @return the new weight; this one stays as it is
   */
  default Weight withStored(NDArray values) {
    throw new UnsupportedOperationException("this weight is not packed");
  }

  /**
   * The type of the values, whatever holds them.
   *
   * @return F32, or F16 or BF16 if they are of that type
   */
  default TensorType type() {
    return TensorType.F32;
  }

  /**
   * How a file says that its tensors are stored as {@link #stored} gives them: the {@code
   * quantization_config} of {@code config.json}.
   *
   * @return the keys; empty if the weight is written as its values
   */
  default Optional<ObjectNode> quantization() {
    return Optional.empty();
  }

  /**
   * The tensors that hold this weight in a file, where they are other than its values.
   *
   * @param name the parameter's name, with which all their names begin
   * @return the tensors, to be written while this weight is open; empty if the weight is written as
   *     its values
   */
  default List<SafeTensorsWriter.Entry> stored(String name) {
    return List.of();
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
