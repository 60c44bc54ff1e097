package io.peft4j.models;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.models.Network.CacheShape;
import io.peft4j.torch.Kernel;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Scopes;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Keys and values of the tokens that have been computed, for each layer float32 [batch, heads,
 * capacity, size], so that a pass computes new tokens only. Used by one thread at a time; closed by
 * whoever made it.
 */
public final class KeyValueCache implements AutoCloseable {
  /** Room grows by multiples of this many tokens. */
  private static final int BLOCK = 64;

  private static final Kernel GROW =
      Kernel.of(
          "x: Tensor, y: Tensor, n: Tensor -> Tensor",
          "m = int(n)",
          "return torch.copy_(torch.slice(y, 2, 0, m, 1), torch.slice(x, 2, 0, m, 1))");

  private final CacheShape shape;
  private final Device device;
  private final NDArray[] keys;
  private final NDArray[] values;
  private long batch;
  private long capacity;
  private long length;
  private @Nullable NDArray past;

  /**
   * An empty cache.
   *
   * @param shape what the model needs
   * @param device where the model is
   * @param batch number of rows
   * @param capacity number of tokens in a row that there is to be room for at first
   */
  KeyValueCache(CacheShape shape, Device device, long batch, long capacity) {
    this.shape = shape;
    this.device = device;
    this.batch = batch;
    keys = new NDArray[shape.layers()];
    values = new NDArray[shape.layers()];
    try {
      allocate(rounded(capacity));
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  private static long rounded(long tokens) {
    return (Math.max(tokens, 1) + BLOCK - 1) / BLOCK * BLOCK;
  }

  private void allocate(long tokens) {
    Shape buffer = new Shape(batch, shape.heads(), tokens, shape.size());
    try (NDManager manager = NDManager.newBaseManager(device, "PyTorch")) {
      for (int i = 0; i < keys.length; i++) {
        keys[i] = replaced(keys[i], manager.zeros(buffer, DataType.FLOAT32));
        values[i] = replaced(values[i], manager.zeros(buffer, DataType.FLOAT32));
      }
    }
    capacity = tokens;
  }

  /** A larger buffer with what the smaller one holds; the smaller one is closed. */
  private NDArray replaced(@Nullable NDArray before, NDArray after) {
    if (before != null) {
      try (before;
          NDArray count = after.getManager().create(length)) {
        GROW.call(before, after, count).close();
      }
    }
    return Scopes.unmanaged(after);
  }

  /**
   * The number of tokens held in each row, padding included.
   *
   * @return the length
   */
  public long length() {
    return length;
  }

  /** Makes room for more tokens and says to the layers where they go. */
  void begin(long tokens) {
    if (length + tokens > capacity) {
      allocate(rounded(Math.max(length + tokens, capacity * 3 / 2)));
    }
    closePast();
    try (NDManager manager = NDManager.newBaseManager(device, "PyTorch")) {
      past = Scopes.unmanaged(manager.create(length));
    }
  }

  /** Forgets all tokens; the room stays. */
  void clear() {
    length = 0;
  }

  /** Counts the tokens whose keys and values all layers have written. */
  void end(long tokens) {
    length += tokens;
  }

  /** A layer's buffers. */
  CausalContext.CacheView view(int layer, @Nullable NDArray mask, int window) {
    return new CausalContext.CacheView(keys[layer], values[layer], begun(), mask, window);
  }

  private NDArray begun() {
    NDArray begun = past;
    if (begun == null) {
      throw new IllegalStateException("a pass over the cache has not begun");
    }
    return begun;
  }

  /**
   * Takes rows of the batch, some perhaps more than once and others not at all.
   *
   * @param rows the row of this cache that each row of the next is
   */
  void reorder(long[] rows) {
    try (NDManager manager = NDManager.newBaseManager(device, "PyTorch");
        NDArray index = Ops.engineOwned(manager.create(rows))) {
      batch = rows.length;
      for (NDArray[] arrays : new NDArray[][] {keys, values}) {
        for (int i = 0; i < arrays.length; i++) {
          try (NDArray before = arrays[i]) {
            arrays[i] = Scopes.unmanaged(before.get(index));
          }
        }
      }
    }
  }

  private void closePast() {
    if (past != null) {
      past.close();
      past = null;
    }
  }

  @Override
  public void close() {
    closePast();
    for (@Nullable NDArray[] arrays : List.of(keys, values)) {
      for (NDArray array : arrays) {
        if (array != null) {
          array.close();
        }
      }
    }
  }
}
