package io.peft4j.models;

import io.peft4j.InvalidConfigException;
import io.peft4j.state.CheckpointWriter;
import io.peft4j.state.TensorType;

/** How a model is saved. Immutable. */
public final class SaveOptions {
  private final TensorType type;
  private final long maxShardSize;
  private final boolean asStored;

  private SaveOptions(Builder builder) {
    type = builder.type;
    maxShardSize = builder.maxShardSize;
    asStored = builder.asStored;
  }

  /**
   * The options that apply when none are given: float32, shards of at most 50 GB.
   *
   * @return the options
   */
  public static SaveOptions defaults() {
    return builder().build();
  }

  /**
   * Starts options.
   *
   * @return a builder with the defaults
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * The type of the tensors in the files.
   *
   * @return F32, F16 or BF16
   */
  public TensorType type() {
    return type;
  }

  /**
   * The most bytes of tensors in one file.
   *
   * @return bytes, at least 1
   */
  public long maxShardSize() {
    return maxShardSize;
  }

  /**
   * Whether quantized weights are written as they are held.
   *
   * @return false if they are written as their values, in {@link #type}
   */
  public boolean asStored() {
    return asStored;
  }

  /** Collects {@link SaveOptions}. */
  public static final class Builder {
    private TensorType type = TensorType.F32;
    private long maxShardSize = CheckpointWriter.DEFAULT_MAX_SHARD_SIZE;

    private boolean asStored;

    private Builder() {}

    /**
     * Writes quantized weights as they are held, and in {@code config.json} how that is. Others,
     * merged ones among them, are written in {@link #type}.
     *
     * @return this
     */
    public Builder asStored() {
      asStored = true;
      return this;
    }

    /**
     * Sets the type of the tensors in the files; float32 if this is not called.
     *
     * @param type F32, F16 or BF16
     * @return this
     * @throws InvalidConfigException if it is another
     */
    public Builder type(TensorType type) {
      if (type != TensorType.F32 && type != TensorType.F16 && type != TensorType.BF16) {
        throw new InvalidConfigException(
            "models are saved as float32, float16 or bfloat16; given was " + type);
      }
      this.type = type;
      return this;
    }

    /**
     * Sets the most bytes of tensors in one file; 50 GB if this is not called.
     *
     * @param bytes at least 1
     * @return this
     * @throws InvalidConfigException if it is less
     */
    public Builder maxShardSize(long bytes) {
      if (bytes < 1) {
        throw new InvalidConfigException(
            "a shard's size must be at least 1 byte; given was " + bytes);
      }
      maxShardSize = bytes;
      return this;
    }

    /**
     * Finishes the options.
     *
     * @return the options
     */
    public SaveOptions build() {
      return new SaveOptions(this);
    }
  }
}
