package io.peft4j.qlora;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.nn.DenseWeight;
import io.peft4j.nn.Weight;
import io.peft4j.state.SafeTensorsWriter.Entry;
import io.peft4j.state.TensorType;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Precision;
import io.peft4j.torch.Scopes;
import java.util.List;
import java.util.Optional;
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
  private final BitsAndBytesConfig config;
  private final boolean transposed;
  private final Precision precision;

  /**
   * A weight that closes its tensor when it is closed.
   *
   * @param tensor the values
   * @param config what files say of it: type, block and double quantization are the tensor's own
   * @param transposed whether the layer has the matrix the other way round, as GPT-2 does
   * @param precision what products are computed in
   */
  FourBitWeight(
      QuantizedTensor tensor, BitsAndBytesConfig config, boolean transposed, Precision precision) {
    this.tensor = tensor;
    this.config = config;
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
    return new FourBitWeight(tensor, tensor.config().build(), false, precision);
  }

  /**
   * Quantizes a layer's weight.
   *
   * @param weight the weight, which stays the caller's
   * @param config how
   * @param layer the layer
   * @return the new weight, computed with as the old one unless the configuration names a type
   * @throws io.peft4j.MalformedFileException if a value is NaN or infinite
   */
  static FourBitWeight quantize(Weight weight, BitsAndBytesConfig config, LayerSpec layer) {
    boolean transposed = layer.kind() == LayerKind.LINEAR_TRANSPOSED;
    NDArray dense = weight.dense();
    QuantizedTensor tensor =
        QuantizedTensor.quantize(
            config, transposed ? dense.transpose() : dense, weight.type(), layer.path());
    Precision precision =
        config.computeType() == TensorType.F32 ? weight.precision() : Precision.fastest();
    return new FourBitWeight(tensor, config, transposed, precision);
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
  public Weight withStored(NDArray values) {
    return new FourBitWeight(
        QuantizedTensor.quantize(
            tensor.config().build(), turned(values), tensor.type(), "merged values"),
        config,
        transposed,
        precision);
  }

  @Override
  public TensorType type() {
    return tensor.type();
  }

  @Override
  public Optional<ObjectNode> quantization() {
    return Optional.of(config.toJson());
  }

  @Override
  public List<Entry> stored(String name) {
    return BitsAndBytesFormat.entries(name, tensor, config.storageType());
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
