package io.peft4j.state;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.Set;

/**
 * Named tensors that lie in one or several files. Any number of threads may read at once.
 *
 * <p>Who keeps what alive: buffers keep the mapped memory they show, arrays keep theirs, so both
 * may be used after the store is closed. The caller closes the store and, through the manager it
 * names, the arrays.
 */
public interface TensorStore extends AutoCloseable {

  /**
   * The names of all tensors.
   *
   * @return names in the order of the data; cannot be modified
   */
  Set<String> names();

  /**
   * Whether there is a tensor of that name.
   *
   * @param name any name
   * @return true if it can be read
   */
  default boolean contains(String name) {
    return names().contains(name);
  }

  /**
   * Type, shape and place of a tensor.
   *
   * @param name the tensor
   * @return what the file says of it
   * @throws io.peft4j.MalformedFileException if there is no such tensor
   */
  TensorInfo info(String name);

  /**
   * Free text that the file carries, by key.
   *
   * @return the {@code __metadata__} of the file, of the first one if there are several; cannot be
   *     modified
   */
  Map<String, String> metadata();

  /**
   * The bytes of a tensor, not copied.
   *
   * @param name the tensor
   * @return read-only little-endian buffer from position 0, valid after the store is closed.
   *     Reading it fails with an {@link InternalError} if another process truncates the file
   * @throws io.peft4j.MalformedFileException if there is no such tensor
   * @throws io.peft4j.PeftException if it is larger than a buffer can be (2^31 - 1 bytes): read it
   *     in ranges
   * @throws io.peft4j.AdapterStateException if the store is closed
   */
  ByteBuffer buffer(String name);

  /**
   * Some of the bytes of a tensor of any size, not copied.
   *
   * @param name the tensor
   * @param offset first byte, counted from the tensor's start
   * @param length number of bytes; at most 2^30 if the tensor is larger than a buffer can be
   * @return as {@link #buffer(String)}
   * @throws io.peft4j.MalformedFileException if there is no such tensor
   * @throws io.peft4j.PeftException if the range does not lie in the tensor or is too long
   * @throws io.peft4j.AdapterStateException if the store is closed
   */
  ByteBuffer buffer(String name, long offset, int length);

  /**
   * A tensor as the engine holds it.
   *
   * <p>From one mebibyte up the array is the file itself, mapped copy-on-write: nothing is read
   * until it is used, the mapping lives as long as the engine has an array or view over it, and
   * replacing or deleting the file changes nothing (on systems that let mapped files be replaced).
   * The file need not be writable and is never written to, but arrays of the same tensor share
   * their memory: treat them as read-only, and use {@link #float32Copy} for what will be trained.
   * Smaller tensors, those that lie askew in the file, and those for other devices are copied.
   *
   * @param manager owns the array, a manager of the PyTorch engine; the caller closes it
   * @param name the tensor
   * @return array of the shape and type that the file gives
   * @throws io.peft4j.MalformedFileException if there is no such tensor, if the engine cannot hold
   *     its type (BF16, I16, U16, U32, U64 and others), or if a BOOL has a value but 0 and 1
   * @throws io.peft4j.AdapterStateException if the store is closed
   */
  NDArray array(NDManager manager, String name);

  /**
   * A tensor in float32: as {@link #array} if it is F32, else F16 and BF16 widened exactly and F64
   * rounded to the nearest.
   *
   * @param manager owns the array, a manager of the PyTorch engine; the caller closes it
   * @param name the tensor
   * @return float32 array of the file's shape, to be treated as read-only
   * @throws io.peft4j.MalformedFileException if there is no such tensor or it is of another type
   * @throws io.peft4j.AdapterStateException if the store is closed
   */
  NDArray float32(NDManager manager, String name);

  /**
   * An F16 or BF16 tensor as it is stored, mapped as by {@link #array} where that is possible.
   *
   * @param manager owns the array, a manager of the PyTorch engine; the caller closes it
   * @param name the tensor
   * @return float16 or bfloat16 array of the file's shape, to be treated as read-only. A bfloat16
   *     array is for kernels alone: the engine's own interface aborts the process if it meets one
   * @throws io.peft4j.MalformedFileException if there is no such tensor or it is of another type
   * @throws io.peft4j.AdapterStateException if the store is closed
   */
  NDArray half(NDManager manager, String name);

  /**
   * A tensor in float32 in memory of its own, free to be written to; else as {@link #float32}.
   *
   * @param manager owns the array, a manager of the PyTorch engine; the caller closes it
   * @param name the tensor
   * @return float32 array of the file's shape
   * @throws io.peft4j.MalformedFileException if there is no such tensor or it is of another type
   * @throws io.peft4j.AdapterStateException if the store is closed
   */
  NDArray float32Copy(NDManager manager, String name);

  /** Lets go of the files. Arrays and buffers that were handed out stay valid. */
  @Override
  void close();
}
