package io.peft4j.state;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import java.nio.ByteBuffer;

/** Fills arrays from Java memory and shows their memory to Java, in pieces of a buffer's size. */
public final class TensorArrays {
  private static final String ENGINE = "PyTorch";

  private TensorArrays() {}

  /** Puts some elements of a tensor into memory in native byte order. */
  @FunctionalInterface
  public interface Filler {
    /**
     * Puts them.
     *
     * @param destination takes the elements from position 0, in native byte order
     * @param firstElement the first of them, counted from the tensor's start
     * @param elements how many; their bytes are at most 2^30
     */
    void fill(ByteBuffer destination, long firstElement, int elements);
  }

  /**
   * Makes an array in memory of its own; for another device, by way of the host.
   *
   * @param manager owns the array, a manager of the PyTorch engine; the caller closes it
   * @param shape the array's shape
   * @param type the array's type
   * @param filler called for each piece of the array; pieces begin at multiples of 2^30 bytes
   * @return the array
   */
  public static NDArray fill(NDManager manager, Shape shape, DataType type, Filler filler) {
    return fill(manager, shape, type, filler, MappedFile.STRIDE);
  }

  /** With another size of the pieces that are filled at once, for tests. */
  static NDArray fill(
      NDManager manager, Shape shape, DataType type, Filler filler, int pieceBytes) {
    if (isHost(manager)) {
      NDArray array = manager.create(shape, type);
      try {
        forEachPiece(array, pieceBytes / type.getNumOfBytes(), filler);
      } catch (RuntimeException | Error e) {
        array.close();
        throw e;
      }
      return array;
    }
    try (NDManager host = NDManager.newBaseManager(Device.cpu(), ENGINE)) {
      NDArray array = host.create(shape, type);
      forEachPiece(array, pieceBytes / type.getNumOfBytes(), filler);
      NDArray moved = array.toDevice(manager.getDevice(), true);
      moved.attach(manager);
      return moved;
    }
  }

  static boolean isHost(NDManager manager) {
    return manager.getDevice().equals(Device.cpu());
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
