package io.peft4j.qlora;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.AdapterStateException;
import io.peft4j.PeftException;
import io.peft4j.qlora.block.Form;
import io.peft4j.qlora.block.NestedScales;
import io.peft4j.qlora.block.PackedBlocks;
import io.peft4j.qlora.block.ValueSource;
import io.peft4j.state.HalfPrecision;
import io.peft4j.state.SafeTensorsWriter.Entry;
import io.peft4j.state.TensorArrays;
import io.peft4j.state.TensorStore;
import io.peft4j.state.TensorType;
import io.peft4j.torch.Kernel;
import io.peft4j.torch.Scopes;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A tensor in blocks of 4 bits, with the type that it was quantized from and is unpacked to. Safe
 * for use by several threads. Whoever makes one closes it; one that lies in a mapped file holds
 * nothing else.
 */
public final class QuantizedTensor implements AutoCloseable {
  /** Memory for as many values of bfloat16, of which no array can be made otherwise. */
  private static final Kernel BFLOAT16_LIKE =
      Kernel.of("x: Tensor -> Tensor", "return torch.empty_like(x, dtype=15, memory_format=0)");

  /** Values whose float32 memory is shown by one buffer: whole chunks. */
  private static final long PART = 1L << 28;

  /** Values that are unpacked at once for a file: whole chunks. */
  private static final long PIECE = 1L << 22;

  private final Shape shape;
  private final TensorType type;
  private final PackedBlocks blocks;
  private final List<NDArray> memory;
  private volatile boolean closed;

  private QuantizedTensor(Shape shape, TensorType type, PackedBlocks blocks, List<NDArray> memory) {
    this.shape = shape;
    this.type = type;
    this.blocks = blocks;
    this.memory = memory;
  }

  /** One whose memory is not its own, but a mapped file's. */
  static QuantizedTensor mapped(Shape shape, TensorType type, PackedBlocks blocks) {
    return new QuantizedTensor(shape, type, blocks, List.of());
  }

  /**
   * Quantizes a tensor of a file, piece by piece.
   *
   * @param config type, block and double quantization
   * @param store the file, open while this runs
   * @param name a tensor of type F32, BF16 or F16
   * @param path what messages call it
   * @return the quantized tensor; the caller closes it
   * @throws io.peft4j.MalformedFileException if a value is NaN or infinite
   * @throws PeftException if the tensor is of another type, empty, or too large
   */
  public static QuantizedTensor quantize(
      BitsAndBytesConfig config, TensorStore store, String name, String path) {
    TensorType type = store.info(name).type();
    return quantize(config, store.info(name).shape(), type, path, source(store, name, type, path));
  }

  /**
   * Quantizes a matrix of a file after turning it over, as bitsandbytes has GPT-2's weights.
   *
   * @param config type, block and double quantization
   * @param store the file, open while this runs
   * @param name a matrix of type F32, BF16 or F16, [in, out]
   * @param path what messages call it
   * @return the quantized tensor, [out, in]; the caller closes it
   * @throws io.peft4j.MalformedFileException if a value is NaN or infinite
   * @throws PeftException if the tensor is of another type, empty, or too large
   */
  static QuantizedTensor quantizeTransposed(
      BitsAndBytesConfig config, TensorStore store, String name, String path) {
    Shape stored = store.info(name).shape();
    TensorType type = store.info(name).type();
    source(store, name, type, path);
    try (NDManager manager = NDManager.newBaseManager(Device.cpu(), "PyTorch")) {
      NDArray turned = store.float32(manager, name).transpose();
      return quantize(
          config, new Shape(stored.get(1), stored.get(0)), type, path, source(turned.flatten()));
    }
  }

  /**
   * Quantizes an array.
   *
   * @param config type, block and double quantization
   * @param values float32 array; stays the caller's
   * @param type what the values were stored in before, and what the result is unpacked to: F32, or
   *     BF16 or F16 if all values are of that type
   * @param path what messages call it
   * @return the quantized tensor; the caller closes it
   * @throws io.peft4j.MalformedFileException if a value is NaN or infinite
   * @throws PeftException if the array is empty or too large
   */
  public static QuantizedTensor quantize(
      BitsAndBytesConfig config, NDArray values, TensorType type, String path) {
    try (NDManager manager = NDManager.newBaseManager(Device.cpu(), "PyTorch")) {
      NDArray host = values.getDevice().isGpu() ? values.toDevice(Device.cpu(), true) : values;
      NDArray flat = host.reshape(host.getShape().size());
      flat.attach(manager);
      if (host != values) {
        host.attach(manager);
      }
      return quantize(config, values.getShape(), type, path, source(flat));
    }
  }

  /** The memory of a flat array, in parts of which each fits a buffer. */
  private static ValueSource source(NDArray flat) {
    long count = flat.getShape().size();
    ByteBuffer[] parts = new ByteBuffer[Math.toIntExact((count + PART - 1) / PART)];
    for (int i = 0; i < parts.length; i++) {
      long begin = i * PART;
      long end = Math.min(begin + PART, count);
      try (NDArray part = JniUtils.slice((PtNDArray) flat, 0, begin, end, 1)) {
        parts[i] = part.toByteBuffer(true);
      }
    }
    return (first, values, to) ->
        parts[(int) (first / PART)]
            .duplicate()
            .order(ByteOrder.nativeOrder())
            .asFloatBuffer()
            .get((int) (first % PART), to, 0, values);
  }

  private static ValueSource source(TensorStore store, String name, TensorType type, String path) {
    if (type == TensorType.F32) {
      return (first, count, to) ->
          store
              .buffer(name, first * Float.BYTES, count * Float.BYTES)
              .asFloatBuffer()
              .get(to, 0, count);
    }
    if (type != TensorType.BF16 && type != TensorType.F16) {
      throw new PeftException(
          path + ": is of type " + type + "; quantized are tensors of F32, BF16 and F16");
    }
    return (first, count, to) -> {
      ByteBuffer bytes = store.buffer(name, first * Short.BYTES, count * Short.BYTES);
      for (int i = 0; i < count; i++) {
        short half = bytes.getShort(i * Short.BYTES);
        to[i] =
            type == TensorType.BF16
                ? HalfPrecision.fromBfloat16(half)
                : HalfPrecision.fromFloat16(half);
      }
    };
  }

  private static QuantizedTensor quantize(
      BitsAndBytesConfig config, Shape shape, TensorType type, String path, ValueSource source) {
    long count = shape.size();
    if (count < 1 || count > PackedBlocks.MOST) {
      throw new PeftException(
          path + ": has " + count + " values; quantized are tensors of 1 to " + PackedBlocks.MOST);
    }
    List<NDArray> memory = new ArrayList<>();
    try {
      PackedBlocks blocks =
          PackedBlocks.quantize(
              config.type(),
              config.blockSize(),
              config.doubleQuantization()
                  ? QuantizedTensor::mean
                  : (PackedBlocks.@Nullable Mean) null,
              count,
              source,
              path,
              bytes -> allocate(bytes, memory));
      return new QuantizedTensor(shape, type, blocks, memory);
    } catch (RuntimeException | Error e) {
      memory.forEach(NDArray::close);
      throw e;
    }
  }

  /** In the engine's own float32 arithmetic: another order of the sum would change the last bit. */
  private static float mean(float[] values) {
    try (NDManager manager = NDManager.newBaseManager(Device.cpu(), "PyTorch")) {
      return manager.create(values).mean().getFloat();
    }
  }

  private static ByteBuffer allocate(int bytes, List<NDArray> memory) {
    NDArray array =
        Scopes.unmanaged(Device.cpu(), manager -> manager.create(new Shape(bytes), DataType.UINT8));
    memory.add(array);
    return array.toByteBuffer(true);
  }

  /**
   * The shape of the tensor.
   *
   * @return the shape before it was quantized
   */
  public Shape shape() {
    return shape;
  }

  /**
   * The type that the values had before, and that they are rounded to when they are unpacked.
   *
   * @return F32, BF16 or F16
   */
  public TensorType type() {
    return type;
  }

  /** Says how this is quantized, so that other values can be quantized in the same way. */
  BitsAndBytesConfig.Builder config() {
    return BitsAndBytesConfig.builder()
        .type(blocks.type())
        .blockSize(blocks.blockSize())
        .doubleQuantization(blocks.scales() instanceof NestedScales);
  }

  /**
   * The codes and scales.
   *
   * @return the blocks, good for as long as this is open
   */
  public PackedBlocks blocks() {
    return blocks;
  }

  /**
   * Unpacks the whole tensor.
   *
   * @param manager owns the array, a manager of the PyTorch engine on the CPU; the caller closes it
   * @param form the array's type: F32, or one of BF16 and F16 where that loses nothing or is what
   *     is computed in. BF16 is for kernels alone
   * @return the array, of this shape
   * @throws AdapterStateException if this is closed
   */
  public NDArray unpack(NDManager manager, TensorType form) {
    if (closed) {
      throw new AdapterStateException("a quantized tensor was closed and cannot be unpacked");
    }
    Form bits = form(form);
    if (form == TensorType.BF16) {
      return unpackBfloat16(manager, bits);
    }
    return TensorArrays.fill(
        manager,
        shape,
        bits.half() ? DataType.FLOAT16 : DataType.FLOAT32,
        (destination, first, values) -> blocks.unpack(bits, destination, first, values));
  }

  private NDArray unpackBfloat16(NDManager manager, Form bits) {
    NDArray array;
    try (NDArray one = manager.zeros(new Shape(1));
        NDArray like = one.broadcast(shape)) {
      array = BFLOAT16_LIKE.call(like);
    }
    array.attach(manager);
    try (NDArray flat = JniUtils.flatten((PtNDArray) array, 0, -1)) {
      for (long first = 0; first < shape.size(); first += PART) {
        long end = Math.min(first + PART, shape.size());
        try (NDArray part = JniUtils.slice((PtNDArray) flat, 0, first, end, 1)) {
          // Asks for no type: the engine's Java side knows none for bfloat16.
          ByteBuffer memory = JniUtils.getByteBuffer((PtNDArray) part, true);
          blocks.unpack(bits, memory, first, (int) (end - first));
        }
      }
    }
    return array;
  }

  /**
   * The unpacked values as a tensor of a file, in {@link #type}.
   *
   * @param name the tensor's name
   * @return the tensor, to be written while this is open
   */
  public Entry values(String name) {
    Form form = form(type);
    return new Entry(
        name,
        type,
        shape,
        sink -> {
          ByteBuffer bytes =
              ByteBuffer.allocateDirect(
                  Math.toIntExact(Math.min(PIECE, shape.size()) * form.bytes()));
          for (long first = 0; first < shape.size(); first += PIECE) {
            int values = (int) Math.min(PIECE, shape.size() - first);
            blocks.unpack(form, bytes, first, values);
            sink.write(bytes.slice(0, values * form.bytes()));
          }
        });
  }

  private Form form(TensorType wanted) {
    return switch (wanted) {
      case BF16 -> type == TensorType.F16 ? Form.BFLOAT16_OF_FLOAT16 : Form.BFLOAT16;
      case F16 -> Form.FLOAT16;
      default ->
          switch (type) {
            case BF16 -> Form.FLOAT32_OF_BFLOAT16;
            case F16 -> Form.FLOAT32_OF_FLOAT16;
            default -> Form.FLOAT32;
          };
    };
  }

  /**
   * What the tensor takes.
   *
   * @return bytes held, in memory or mapped
   */
  public long bytes() {
    return blocks.bytes();
  }

  @Override
  public void close() {
    closed = true;
    memory.forEach(NDArray::close);
  }
}
