package io.peft4j.train;

import io.peft4j.InvalidConfigException;
import java.nio.file.Path;

/**
 * Where and how often a run is saved so that it can be taken up again, see {@link
 * io.peft4j.train.checkpoint.CheckpointStore} for what a checkpoint is. Immutable.
 *
 * @param directory where the {@code checkpoint-<step>} directories go; made if it is missing
 * @param every how often
 * @param atEnd whether the end of the run is saved as well, and where it is asked to stop
 * @param totalLimit how many of the newest are kept, from 1, the best one in addition to them; 0
 *     for all
 * @param loadBestAtEnd whether the model ends up as it was at the best evaluation; such an
 *     evaluation is then always saved
 */
public record CheckpointSettings(
    Path directory, Interval every, boolean atEnd, int totalLimit, boolean loadBestAtEnd) {

  /**
   * Checks.
   *
   * @throws InvalidConfigException if the limit is negative
   */
  public CheckpointSettings {
    if (totalLimit < 0) {
      throw new InvalidConfigException(
          "at least 1 checkpoint must be kept (0 for all), given was " + totalLimit);
    }
  }

  /**
   * Starts with a checkpoint each epoch and at the end, all of them kept.
   *
   * @param directory where checkpoints go; made if it is missing
   * @return a builder
   */
  public static Builder builder(Path directory) {
    return new Builder(directory);
  }

  /** Collects settings. */
  public static final class Builder {
    private final Path directory;
    private Interval every = Interval.epochs();
    private boolean atEnd = true;
    private int totalLimit;
    private boolean loadBestAtEnd;

    private Builder(Path directory) {
      this.directory = directory;
    }

    /**
     * Sets how often to save; each epoch if not set.
     *
     * @param value the interval
     * @return this
     */
    public Builder every(Interval value) {
      every = value;
      return this;
    }

    /**
     * Sets whether the end of a run is saved; it is if not set.
     *
     * @param value false to go by the interval alone
     * @return this
     */
    public Builder atEnd(boolean value) {
      atEnd = value;
      return this;
    }

    /**
     * Sets how many of the newest checkpoints are kept; all if not set.
     *
     * @param value from 1; 0 for all
     * @return this
     */
    public Builder totalLimit(int value) {
      totalLimit = value;
      return this;
    }

    /**
     * Sets whether the model ends up as it was at the best evaluation; if not set it does not.
     *
     * @param value whether it does; needs an evaluation
     * @return this
     */
    public Builder loadBestAtEnd(boolean value) {
      loadBestAtEnd = value;
      return this;
    }

    /**
     * Checks and makes the settings.
     *
     * @return the settings
     * @throws InvalidConfigException if the limit is negative
     */
    public CheckpointSettings build() {
      return new CheckpointSettings(directory, every, atEnd, totalLimit, loadBestAtEnd);
    }
  }
}
