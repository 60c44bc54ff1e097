package io.peft4j.cli.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.ForwardMode;
import io.peft4j.InvalidConfigException;
import io.peft4j.train.Batch;
import io.peft4j.train.Loss;
import io.peft4j.train.Trainable;
import java.util.OptionalLong;

/**
 * Forward and backward passes that change nothing, to see what a step takes. Gradients that they
 * leave behind are forgotten when a run begins.
 */
final class TrialStep {
  /** Share of the budget that is planned with: what else the process does needs some too. */
  private static final double USED = 0.95;

  private static final int MOST_ROWS = 1024;

  private final Trainable model;
  private final Loss loss;

  TrialStep(Trainable model, Loss loss) {
    this.model = model;
    this.loss = loss;
  }

  /**
   * What a pass took.
   *
   * @param loss the loss
   * @param seconds wall time
   * @param peak most bytes that were resident; empty where the system does not tell
   */
  record Taken(double loss, double seconds, OptionalLong peak) {}

  /** Runs one batch. */
  Taken run(Batch batch) {
    boolean measured = PeakMemory.reset();
    long started = System.nanoTime();
    try (NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      double value = model.accumulateGradients(batch, loss, ForwardMode.TRAINING, 1);
      double seconds = (System.nanoTime() - started) / 1e9;
      return new Taken(value, seconds, measured ? PeakMemory.peak() : OptionalLong.empty());
    }
  }

  /** Runs full rows, every token of which is learned: what takes most. */
  private long peak(int rows, int length) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        Batch batch = full(manager.newSubManager(), rows, length)) {
      return run(batch)
          .peak()
          .orElseThrow(
              () ->
                  new InvalidConfigException(
                      "train_batch_size: auto needs a system that tells resident memory (Linux);"
                          + " give a number"));
    }
  }

  private static Batch full(NDManager manager, int rows, int length) {
    NDArray ids = manager.ones(new Shape(rows, length), DataType.INT64);
    ids.setName("input_ids");
    NDArray labels = manager.ones(new Shape(rows, length), DataType.INT64);
    return new Batch(manager, new NDList(ids), new NDList(labels));
  }

  /**
   * The most rows whose step stays within a budget.
   *
   * @param length tokens of a row
   * @param budget bytes that the process may take; 0 for four fifths of what it has and could have
   * @param later bytes that come once training has begun: the optimizer's state
   */
  int mostRows(int length, long budget, long later) {
    long room =
        budget > 0
            ? budget
            : Math.round(
                0.8 * (PeakMemory.now().orElse(0) + PeakMemory.available().orElse(Long.MAX_VALUE)));
    double limit = USED * room - later;
    long one = peak(1, length);
    if (one > limit) {
      throw new InvalidConfigException(
          "one row of "
              + length
              + " tokens takes "
              + one
              + " bytes, more than the memory budget of "
              + room
              + "; recomputation or a smaller max_length takes less");
    }
    long two = peak(2, length);
    if (two > limit) {
      return 1;
    }
    double each = Math.max(1, two - one);
    int rows = (int) Math.min(MOST_ROWS, 1 + Math.floor((limit - one) / each));
    // What the engine keeps between steps makes the first guess a little too good or too bad.
    while (rows > 2 && peak(rows, length) > limit) {
      rows = Math.max(2, rows * 3 / 4);
    }
    return rows;
  }
}
