package io.peft4j.qlora;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.nn.DenseWeight;
import io.peft4j.nn.Weight;
import io.peft4j.state.SafeTensorsWriter.Entry;
import io.peft4j.state.TensorType;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Precision;
import io.peft4j.torch.Scopes;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A weight held in 4 bits. Products of few rows read the packed codes, and hold no more unpacked
 * than a row of the matrix for each thread. For more rows it is unpacked just before a product and
 * dropped right after it; nothing unpacked is kept, but what a backward pass of the engine's own
 * needs until it has run.
 */
public final class FourBitWeight implements Weight {
  /** Up to so many rows it is faster to multiply what is packed; measured. */
  static final int MOST_ROWS = 8;

  private final QuantizedTensor tensor;
  private final TensorType storageType;
  private final boolean transposed;
  private final Precision precision;

  /**
   * A weight that closes its tensor when it is closed.
   *
   * @param tensor the values
   * @param storageType the type that files give the packed codes
   * @param transposed whether the layer has the matrix the other way round, as GPT-2 does
   * @param precision what products are computed in
   */
  FourBitWeight(
      QuantizedTensor tensor, TensorType storageType, boolean transposed, Precision precision) {
    this.tensor = tensor;
    this.storageType = storageType;
    this.transposed = transposed;
    this.precision = precision;
  }

  /**
   * Makes a weight of a tensor.
   *
   * @param tensor the values; the weight closes them
   * @param precision what products are computed in
   * @return the weight
   */
  public static FourBitWeight of(QuantizedTensor tensor, Precision precision) {
    return new FourBitWeight(tensor, TensorType.U8, false, precision);
  }

  /**
   * The values as they are held.
   *
   * @return the tensor, which this weight closes; of a {@code LINEAR_TRANSPOSED} layer it is [out,
   *     in], where {@link #shape} is [in, out]
   */
  public QuantizedTensor tensor() {
    return tensor;
  }

  @Override
  public Shape shape() {
    Shape shape = tensor.shape();
    return transposed ? new Shape(shape.get(1), shape.get(0)) : shape;
  }

  @Override
  public NDArray dense() {
    return turned(unpack(TensorType.F32));
  }

  private NDArray turned(NDArray array) {
    return transposed ? array.transpose() : array;
  }

  private NDArray unpack(TensorType form) {
    try (NDManager manager = NDManager.newBaseManager(Device.cpu(), "PyTorch")) {
      return Scopes.unowned(tensor.unpack(manager, form));
    }
  }

  @Override
  public NDArray linear(NDArray x, @Nullable NDArray bias) {
    return transposed ? product(x, dense(), bias) : product(x, bias);
  }

  @Override
  public NDArray linearTransposed(NDArray x, @Nullable NDArray bias) {
    return transposed ? product(x, bias) : product(x, dense().transpose(), bias);
  }

  private boolean isFew(NDArray x) {
    Shape shape = x.getShape();
    return shape.size() <= MOST_ROWS * shape.get(shape.dimension() - 1)
        && !JniUtils.isGradMode()
        && x.getDevice().equals(Device.cpu())
        && tensor.hasProduct();
  }

  /** x·Wᵀ + b for W as it is held. */
  private NDArray product(NDArray x, @Nullable NDArray bias) {
    if (isFew(x)) {
      NDArray product = tensor.product(x);
      return bias == null ? product : product.addi(bias);
    }
    boolean half = precision == Precision.BFLOAT16;
    try (NDArray dense = unpack(half ? TensorType.BF16 : TensorType.F32)) {
      return half ? Ops.linearBfloat16(x, dense, bias) : Ops.linear(x, dense, bias);
    }
  }

  private NDArray product(NDArray x, NDArray matrix, @Nullable NDArray bias) {
    return precision == Precision.BFLOAT16
        ? Ops.linearBfloat16(x, matrix, bias)
        : Ops.linear(x, matrix, bias);
  }

  @Override
  public NDArray rows(NDArray ids) {
    return JniUtils.embedding((PtNDArray) ids, (PtNDArray) dense(), false);
  }

  @Override
  public Precision precision() {
    return precision;
  }

  @Override
  public NDArray source() {
    boolean half = precision == Precision.BFLOAT16 || tensor.type() == TensorType.BF16;
    return half && !transposed ? unpack(TensorType.BF16) : dense();
  }

  @Override
  public Weight withValues(NDArray values) {
    return DenseWeight.owning(values, precision);
  }

  @Override
  public List<Entry> stored(String name) {
    return BitsAndBytesFormat.entries(name, tensor, storageType);
  }

  @Override
  public long bytes() {
    return tensor.bytes();
  }

  @Override
  public void close() {
    tensor.close();
  }
}
