package io.peft4j.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterStateException;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The moments of one parameter as arrays: two of float32, or two of codes and two of their blocks'
 * largest magnitudes. What is held in 8 bits is updated here; the rest with other parameters at
 * once.
 */
final class MomentState {
  /** What all keys but that of the step begin with. */
  static final String PREFIX = "exp_avg";

  private static final String FIRST = "exp_avg.";
  private static final String SECOND = "exp_avg_sq.";
  private static final String FIRST_LARGEST = "exp_avg_absmax.";
  private static final String SECOND_LARGEST = "exp_avg_sq_absmax.";

  private final Map<String, NDArray> arrays = new LinkedHashMap<>();
  private final @Nullable BlockMoments blocks;

  private MomentState(Map<String, NDArray> arrays, @Nullable BlockMoments blocks) {
    this.arrays.putAll(arrays);
    this.blocks = blocks;
  }

  /** Zeros for a parameter; the arrays are the manager's. */
  static MomentState of(
      OptimizerStorage storage, MomentMemory memory, NDManager manager, NDArray value) {
    Shape shape = value.getShape();
    if (!storage.eightBit() || shape.size() < OptimizerStorage.LEAST_VALUES) {
      return new MomentState(
          Map.of(
              FIRST,
              AdamW.keep(memory.zeros(manager, shape), manager),
              SECOND,
              AdamW.keep(memory.zeros(manager, shape), manager)),
          null);
    }
    BlockMoments made = BlockMoments.allocate(memory, shape.size());
    Shape scales = new Shape(BlockMoments.blocks(shape.size()));
    return new MomentState(
        Map.of(
            FIRST,
            array(manager, made.first(), shape, DataType.UINT8),
            FIRST_LARGEST,
            array(manager, made.firstLargest(), scales, DataType.FLOAT32),
            SECOND,
            array(manager, made.second(), shape, DataType.UINT8),
            SECOND_LARGEST,
            array(manager, made.secondLargest(), scales, DataType.FLOAT32)),
        made);
  }

  /** The memory of a buffer as an array. */
  private static NDArray array(NDManager manager, ByteBuffer memory, Shape shape, DataType type) {
    return AdamW.keep(manager.create(memory.duplicate(), shape, type), manager);
  }

  /** The arrays in use, by the beginnings of their keys. */
  Map<String, NDArray> arrays() {
    return arrays;
  }

  NDArray first() {
    return entry(arrays, FIRST);
  }

  NDArray second() {
    return entry(arrays, SECOND);
  }

  /** Updates what is held in 8 bits; false if nothing is. */
  boolean update(ForEach.AdamWStep step, NDArray value, NDArray gradient) {
    if (blocks == null) {
      return false;
    }
    blocks.update(step, value.toByteBuffer(true), gradient.toByteBuffer(true));
    return true;
  }

  /** Checks that a saved state has what this takes. */
  void check(Map<String, NDArray> state, String key) {
    arrays.forEach(
        (name, array) -> {
          NDArray moment = entry(state, name + key);
          if (!moment.getShape().equals(array.getShape())
              || moment.getDataType() != array.getDataType()) {
            throw new AdapterStateException(
                "optimizer state '"
                    + name
                    + key
                    + "' must be "
                    + array.getDataType()
                    + " "
                    + array.getShape()
                    + ", was "
                    + moment.getDataType()
                    + " "
                    + moment.getShape());
          }
        });
  }

  /** Takes a saved state over; zeros if there is no key. */
  void load(Map<String, NDArray> state, @Nullable String key) {
    if (key == null) {
      ForEach.zero(List.copyOf(arrays.values()));
      return;
    }
    arrays.forEach((name, array) -> Parameters.copy(array, entry(state, name + key)));
  }

  static NDArray entry(Map<String, NDArray> state, String name) {
    NDArray array = state.get(name);
    if (array == null) {
      throw new AdapterStateException("optimizer state lacks '" + name + "'");
    }
    return array;
  }
}
