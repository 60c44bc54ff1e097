package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.peft4j.state.TensorType;
import io.peft4j.torch.MappedPages;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Precision;
import org.jspecify.annotations.Nullable;

/**
 * A weight held in 16 bits as it is stored, mapped from its file where that is possible. It is
 * widened for the length of a product of many rows (with gradients, until the backward pass), or
 * multiplied in bfloat16, and packed for products of few rows. From then on the pack is what takes
 * memory: the file's pages are given back each time they have been read.
 */
public final class HalfWeight implements Weight {
  private final NDArray array;
  private final TensorType type;
  private final Shape shape;
  private final Precision precision;
  private final FewRows fewRows = new FewRows(HalfPacking.INSTANCE);
  private final FewRows fewRowsTransposed = new FewRows(HalfPacking.TRANSPOSED);
  private volatile @Nullable MappedPages pages;

  /**
   * A weight that closes its array when it is closed.
   *
   * @param array float16 or bfloat16 array, not attached to a manager that is closed earlier
   * @param type which of them: F16 or BF16
   * @param precision what {@link #linear} computes in
   */
  public HalfWeight(NDArray array, TensorType type, Precision precision) {
    this.array = array;
    this.type = type;
    this.precision = precision;
    shape = array.getShape();
  }

  @Override
  public Shape shape() {
    return shape;
  }

  @Override
  public TensorType type() {
    return type;
  }

  @Override
  public NDArray dense() {
    return Ops.toFloat32(array);
  }

  @Override
  public NDArray linear(NDArray x, @Nullable NDArray bias) {
    NDArray few = fewRows.linear(x, this, bias);
    if (few != null) {
      return few;
    }
    NDArray product =
        precision == Precision.BFLOAT16
            ? Ops.linearBfloat16(x, array, bias)
            : Ops.linearWidened(x, array, bias);
    release();
    return product;
  }

  @Override
  public NDArray linearTransposed(NDArray x, @Nullable NDArray bias) {
    NDArray few = fewRowsTransposed.linear(x, this, bias);
    if (few != null) {
      return few;
    }
    NDArray product =
        precision == Precision.BFLOAT16
            ? Ops.linearTransposedBfloat16(x, array, bias)
            : Ops.linear(x, dense().transpose(), bias);
    release();
    return product;
  }

  @Override
  public void packed() {
    if (pages == null) {
      pages = MappedPages.ofHalf(array).orElse(null);
    }
    release();
  }

  @Override
  public void sourceRead() {
    release();
  }

  private void release() {
    MappedPages read = pages;
    if (read != null) {
      read.release();
    }
  }

  @Override
  public Precision precision() {
    return precision;
  }

  @Override
  public NDArray source() {
    return array;
  }

  @Override
  public RowPacking rowPacking() {
    return HalfPacking.INSTANCE;
  }

  @Override
  public NDArray rows(NDArray ids) {
    return Ops.rowsWidened(array, ids);
  }

  @Override
  public Weight withValues(NDArray values) {
    return DenseWeight.owning(values, precision);
  }

  @Override
  public long bytes() {
    return shape.size() * Short.BYTES
        + fewRows.bytes(shape.size())
        + fewRowsTransposed.bytes(shape.size());
  }

  @Override
  public void close() {
    fewRows.close();
    fewRowsTransposed.close();
    array.close();
  }
}
