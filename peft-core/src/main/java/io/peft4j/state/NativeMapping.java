package io.peft4j.state;

import ai.djl.Device;
import ai.djl.engine.EngineException;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.torch.Kernel;
import io.peft4j.torch.Scopes;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A file mapped copy-on-write by the engine itself, as the storage of arrays.
 *
 * <p>The engine counts the arrays and views over a storage and unmaps it with the last, so none can
 * lose its memory. (Memory mapped by Java goes when Java has no buffer any more, though the engine
 * still has a view; and Java maps copy-on-write only files that may be written to.) There is one
 * mapping for each element type in use, since a process may have only so many, and since the engine
 * cannot map from the middle of a file.
 *
 * <p>Closed by the {@link SafeTensors} that holds it; arrays stay valid.
 */
final class NativeMapping implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(NativeMapping.class);
  private static final String ENGINE = "PyTorch";

  /** A kernel for each type that maps a whole file; the numbers are the engine's for the types. */
  private static final Map<DataType, Kernel> MAP = new EnumMap<>(DataType.class);

  static {
    MAP.put(DataType.UINT8, mapKernel(0));
    MAP.put(DataType.INT8, mapKernel(1));
    MAP.put(DataType.INT32, mapKernel(3));
    MAP.put(DataType.INT64, mapKernel(4));
    MAP.put(DataType.FLOAT16, mapKernel(5));
    MAP.put(DataType.FLOAT32, mapKernel(6));
    MAP.put(DataType.FLOAT64, mapKernel(7));
    MAP.put(DataType.BFLOAT16, mapKernel(15));
  }

  /**
   * The same array with a version counter of its own. If all parts of the file shared one, writing
   * to one would spoil the backward pass of all others.
   */
  private static final Kernel OWN_VERSION =
      Kernel.of("x: Tensor -> Tensor", "return torch.data(x)");

  private final Path file;
  private final FileIdentity expected;
  private final Map<DataType, NDArray> whole = new EnumMap<>(DataType.class);
  private boolean unavailable;

  /**
   * Describes a mapping; nothing is mapped yet.
   *
   * @param expected what the file must still be when it is mapped
   */
  NativeMapping(Path file, FileIdentity expected) {
    this.file = file;
    this.expected = expected;
  }

  /** A kernel gets no strings, so the path travels as bytes. */
  private static Kernel mapKernel(int type) {
    return Kernel.of(
        "path: Tensor, size: Tensor -> Tensor",
        "_path = \"\"",
        "for i in range(torch.len(path)):",
        "  _path = torch.add(_path, torch.chr(int(torch.select(path, 0, i))))",
        "return torch.from_file(_path, False, int(size), dtype="
            + type
            + ", layout=0, device=torch.device(\"cpu\"), pin_memory=False)");
  }

  /**
   * Makes an array that is a part of the file.
   *
   * @param position first byte in the file, a multiple of the element's size
   * @return the array, or null if the path leads to another file by now or cannot be mapped
   */
  synchronized @Nullable NDArray array(
      NDManager manager, long position, Shape shape, DataType type) {
    NDArray all = whole(type);
    if (all == null) {
      return null;
    }
    long first = position / type.getNumOfBytes();
    try (NDArray part = JniUtils.slice((PtNDArray) all, 0, first, first + shape.size(), 1);
        NDArray own = OWN_VERSION.call(part)) {
      NDArray array = own.reshape(shape);
      array.attach(manager);
      return array;
    }
  }

  private @Nullable NDArray whole(DataType type) {
    NDArray all = whole.get(type);
    Kernel kernel = MAP.get(type);
    if (all != null || unavailable || kernel == null) {
      return all;
    }
    byte[] path = file.toString().getBytes(StandardCharsets.UTF_8);
    try (NDManager host = NDManager.newBaseManager(Device.cpu(), ENGINE);
        NDArray bytes = host.create(ByteBuffer.wrap(path), new Shape(path.length), DataType.UINT8);
        NDArray size = host.create(expected.size() / type.getNumOfBytes())) {
      all = kernel.call(bytes, size);
      // Neither a scope nor a manager of the caller's shall close what later calls use.
      Scopes.unmanaged(all);
      if (FileIdentity.of(file).equals(expected)) {
        whole.put(type, all);
        return all;
      }
      all.close();
    } catch (EngineException | IOException e) {
      LOG.debug("{} cannot be mapped, so tensors are copied", file, e);
    }
    unavailable = true;
    return null;
  }

  @Override
  public synchronized void close() {
    unavailable = true;
    whole.values().forEach(NDArray::close);
    whole.clear();
  }
}
