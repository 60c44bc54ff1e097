package io.peft4j.train;

import io.peft4j.InvalidConfigException;
import java.util.List;
import java.util.function.Supplier;

/**
 * A training run as another implementation can make it too: AdamW at a constant rate over all
 * trained parameters alike, no dropout, one step a batch, in order. What is compared is the loss of
 * each step before its update.
 *
 * @param losses the loss of each step
 * @param gradientNorms the 2-norm of all gradients of each step before clipping
 */
public record LossRun(List<Double> losses, List<Double> gradientNorms) {

  /** Copies the lists. */
  public LossRun {
    losses = List.copyOf(losses);
    gradientNorms = List.copyOf(gradientNorms);
  }

  /**
   * Trains on every batch once. The model is changed by it.
   *
   * @param model what is trained; it stays the caller's
   * @param batches makes each batch, in order; at least one
   * @param loss the loss
   * @param settings rate, decay, clipping and betas
   * @return the losses
   * @throws DivergenceException if a loss or gradient is not finite
   */
  public static LossRun of(
      Trainable model,
      List<? extends Supplier<Batch>> batches,
      Loss loss,
      OptimizerSettings settings) {
    TrainingResult result =
        Trainer.builder()
            .model(model)
            .loss(loss)
            .batches(BatchSource.of(batches))
            .optimizer(settings)
            .dropout(false)
            .build()
            .run();
    return new LossRun(result.losses(), result.gradientNorms());
  }

  /**
   * How far the losses are from those of another implementation.
   *
   * @param expected the other's losses, as many
   * @return the largest absolute difference
   * @throws InvalidConfigException if the numbers of steps differ
   */
  public double maxDifference(List<Double> expected) {
    if (expected.size() != losses.size()) {
      throw new InvalidConfigException(
          losses.size() + " steps were made, but " + expected.size() + " losses are expected");
    }
    double largest = 0;
    for (int step = 0; step < losses.size(); step++) {
      // Not a comparison: NaN must not pass for equal, and max hands it on.
      largest = Math.max(largest, Math.abs(losses.get(step) - expected.get(step)));
    }
    return largest;
  }
}
