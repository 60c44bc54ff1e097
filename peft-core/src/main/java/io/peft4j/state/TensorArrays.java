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
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Makes engine arrays of a file's bytes: by mapping the file, or by filling fresh memory. */
final class TensorArrays {
  /**
   * Smaller tensors are copied: it takes no longer than mapping them, and the system limits how many
   * mappings a process may have (65,530 on a usual Linux).
   */
  static final long LEAST_MAPPED = 1 << 20;

  private static final Logger LOG = LoggerFactory.getLogger(TensorArrays.class);
  private static final String ENGINE = "PyTorch";

  /** The engine's numbers of its types, and a kernel that maps a file as elements of each. */
  private static final Map<DataType, Kernel> MAP = new EnumMap<>(DataType.class);

  static {
    MAP.put(DataType.UINT8, mapKernel(0));
    MAP.put(DataType.INT8, mapKernel(1));
    MAP.put(DataType.INT32, mapKernel(3));
    MAP.put(DataType.INT64, mapKernel(4));
    MAP.put(DataType.FLOAT16, mapKernel(5));
    MAP.put(DataType.FLOAT32, mapKernel(6));
    MAP.put(DataType.FLOAT64, mapKernel(7));
  }

  private TensorArrays() {}

  /**
   * Maps a file copy-on-write, as the storage of an array: the engine counts who uses it and unmaps
   * it with the last. (A mapping made by Java could go while a view is still in use, and needs a
   * file that may be written to.) A kernel gets no strings, so the path travels as bytes.
   */
  private static Kernel mapKernel(int type) {
    return Kernel.of(
        "path: Tensor, begin: Tensor, end: Tensor -> Tensor",
        "_path = \"\"",
        "for i in range(torch.len(path)):",
        "  _path = torch.add(_path, torch.chr(int(torch.select(path, 0, i))))",
        "_all = torch.from_file(_path, False, int(end), dtype="
            + type
            + ", layout=0, device=torch.device(\"cpu\"), pin_memory=False)",
        "return torch.slice(_all, 0, int(begin), int(end), 1)");
  }

  /**
   * Maps a tensor.
   *
   * @param position first byte in the file; a multiple of the element's size
   * @param expected what the file must still be after it was mapped
   * @return the array, or null if the file is another one by now or cannot be mapped
   */
  static @org.jspecify.annotations.Nullable NDArray map(
      NDManager manager, Path file, FileIdentity expected, long position, TensorInfo info,
      DataType type) {
    Kernel kernel = MAP.get(type);
    if (kernel == null) {
      return null;
    }
    byte[] path = file.toString().getBytes(StandardCharsets.UTF_8);
    long first = position / type.getNumOfBytes();
    try (NDManager host = NDManager.newBaseManager(Device.cpu(), ENGINE);
        NDArray pathBytes = host.create(ByteBuffer.wrap(path), new Shape(path.length), DataType.UINT8);
        NDArray begin = host.create(first);
        NDArray end = host.create(first + info.elements());
        NDArray flat = kernel.call(pathBytes, begin, end)) {
      if (!FileIdentity.of(file).equals(expected)) {
        return null;
      }
      NDArray array = flat.reshape(info.shape());
      array.attach(manager);
      return array;
    } catch (EngineException | IOException e) {
      LOG.debug("{} is not mapped but copied: {}", file, info.name(), e);
      return null;
    }
  }

  /** Puts some elements of a tensor into memory in native byte order. */
  interface Filler {
    void fill(ByteBuffer destination, long firstElement, int elements);
  }

  /** Makes an array in memory of its own; for another device, by way of the host. */
  static NDArray fill(NDManager manager, Shape shape, DataType type, Filler filler) {
    return fill(manager, shape, type, filler, MappedFile.STRIDE);
  }

  /** With another size of the pieces that are filled at once, for tests. */
  static NDArray fill(
      NDManager manager, Shape shape, DataType type, Filler filler, int pieceBytes) {
    if (isHost(manager)) {
      NDArray array = manager.create(shape, type);
      try {
        fill(array, filler, pieceBytes / type.getNumOfBytes());
      } catch (RuntimeException | Error e) {
        array.close();
        throw e;
      }
      return array;
    }
    try (NDManager host = NDManager.newBaseManager(Device.cpu(), ENGINE)) {
      NDArray array = host.create(shape, type);
      fill(array, filler, pieceBytes / type.getNumOfBytes());
      NDArray moved = array.toDevice(manager.getDevice(), true);
      moved.attach(manager);
      return moved;
    }
  }

  static boolean isHost(NDManager manager) {
    return manager.getDevice().equals(Device.cpu());
  }

  private static void fill(NDArray array, Filler filler, int pieceElements) {
    forEachPiece(array, pieceElements, filler::fill);
  }

  /**
   * Shows an array's own memory in pieces, in order.
   *
   * @param array any array; one that is not contiguous or not on the host is copied first
   * @param pieceElements most elements at once
   */
  static void forEachPiece(NDArray array, int pieceElements, Filler visitor) {
    long total = array.getShape().size();
    if (total == 0) {
      return;
    }
    if (!array.getDevice().equals(Device.cpu())) {
      try (NDArray host = array.toDevice(Device.cpu(), true)) {
        forEachPiece(host, pieceElements, visitor);
      }
      return;
    }
    try (NDArray flat = array.reshape(total)) {
      for (long first = 0; first < total; first += pieceElements) {
        int elements = (int) Math.min(pieceElements, total - first);
        try (NDArray piece = JniUtils.slice((PtNDArray) flat, 0, first, first + elements, 1)) {
          visitor.fill(piece.toByteBuffer(true), first, elements);
        }
      }
    }
  }
}
