package io.peft4j.train;

import io.peft4j.InvalidConfigException;
import io.peft4j.PeftModel;
import io.peft4j.TrainableParameter;
import io.peft4j.nn.TrainingOptions;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Collects what a {@link Trainer} is made of. For the use of one thread. */
public final class TrainerBuilder {
  private @Nullable Trainable model;
  @Nullable PeftModel adapted;
  private boolean recomputation;
  private double embeddingNoise;
  @Nullable Loss loss;
  @Nullable BatchSource batches;
  OptimizerSettings.Builder settings = OptimizerSettings.builder();
  OptimizerStorage storage = OptimizerStorage.plain();
  LearningRateSchedule schedule = LearningRateSchedule.constant();
  @Nullable Function<List<TrainableParameter>, List<ParameterGroup>> groups;
  @Nullable Function<List<ParameterGroup>, Optimizer> optimizer;
  boolean dropout = true;
  int epochs = 1;
  long steps;
  int accumulation = 1;
  long seed;
  @Nullable EvaluationSettings evaluation;
  @Nullable CheckpointSettings checkpoints;
  boolean resume;
  @Nullable Path resumeFrom;
  @Nullable Boolean reachCheck;
  final List<TrainingListener> listeners = new ArrayList<>();

  TrainerBuilder() {}

  /**
   * Sets what is trained. Required.
   *
   * @param value a model with adapters, of which those that are to be trained change; it stays the
   *     caller's
   * @return this
   */
  public TrainerBuilder model(PeftModel value) {
    adapted = value;
    model = null;
    return this;
  }

  /**
   * Sets what is trained. Required.
   *
   * @param value anything with parameters; it stays the caller's
   * @return this
   */
  public TrainerBuilder model(Trainable value) {
    model = value;
    adapted = null;
    return this;
  }

  /**
   * Sets what to make small. Required.
   *
   * @param value the loss
   * @return this
   */
  public TrainerBuilder loss(Loss value) {
    loss = value;
    return this;
  }

  /**
   * Sets the data. Required.
   *
   * @param value where batches come from; the trainer closes each of them
   * @return this
   */
  public TrainerBuilder batches(BatchSource value) {
    batches = value;
    return this;
  }

  /**
   * Sets how parameters are updated, replacing what was set before.
   *
   * @param value rate, decay, clipping and betas
   * @return this
   */
  public TrainerBuilder optimizer(OptimizerSettings value) {
    settings = value.toBuilder();
    return this;
  }

  /**
   * Sets the highest learning rate; 2e-4 if not set.
   *
   * @param value from 0
   * @return this
   */
  public TrainerBuilder learningRate(double value) {
    settings.learningRate(value);
    return this;
  }

  /**
   * Sets the decoupled weight decay; 0 if not set.
   *
   * @param value from 0
   * @return this
   */
  public TrainerBuilder weightDecay(double value) {
    settings.weightDecay(value);
    return this;
  }

  /**
   * Sets where gradients are clipped; 1 if not set.
   *
   * @param value the largest common 2-norm, above 0; infinity for no clipping
   * @return this
   */
  public TrainerBuilder maxGradientNorm(double value) {
    settings.maxGradientNorm(value);
    return this;
  }

  /**
   * Sets the decays of AdamW's moments; 0.9 and 0.999 if not set.
   *
   * @param first of the mean of the gradients, in [0, 1)
   * @param second of the mean of their squares, in [0, 1)
   * @return this
   */
  public TrainerBuilder betas(double first, double second) {
    settings.betas(first, second);
    return this;
  }

  /**
   * Sets how {@link AdamW} holds its moments; 32 bits in memory if not set.
   *
   * @param value bits and place
   * @return this
   */
  public TrainerBuilder optimizerStorage(OptimizerStorage value) {
    storage = value;
    return this;
  }

  /**
   * Sets how the learning rate goes; constant if not set.
   *
   * @param value the schedule
   * @return this
   */
  public TrainerBuilder schedule(LearningRateSchedule value) {
    schedule = value;
    return this;
  }

  /**
   * Sets which parameters are trained alike; if not set, all are, with the settings' weight decay.
   *
   * @param value divides the parameters into groups; those it leaves out do not change
   * @return this
   */
  public TrainerBuilder parameterGroups(
      Function<List<TrainableParameter>, List<ParameterGroup>> value) {
    groups = value;
    return this;
  }

  /**
   * Sets the optimizer; {@link AdamW} if not set.
   *
   * @param value makes one for each run, which closes it
   * @return this
   */
  public TrainerBuilder optimizer(Function<List<ParameterGroup>, Optimizer> value) {
    optimizer = value;
    return this;
  }

  /**
   * Sets how often the data is gone through; once if not set. {@link #steps} takes precedence.
   *
   * @param value from 1
   * @return this
   */
  public TrainerBuilder epochs(int value) {
    epochs = value;
    return this;
  }

  /**
   * Sets how many updates are made, in as many epochs as that takes.
   *
   * @param value from 1; 0 to go by epochs
   * @return this
   */
  public TrainerBuilder steps(long value) {
    steps = value;
    return this;
  }

  /**
   * Sets from how many batches the gradients of one update come; 1 if not set. The update is the
   * one of a single batch of all their items. The last update of an epoch may have fewer.
   *
   * @param value from 1
   * @return this
   */
  public TrainerBuilder gradientAccumulation(int value) {
    accumulation = value;
    return this;
  }

  /**
   * Sets whether dropout acts; it does if not set.
   *
   * @param value false for runs to be compared with another implementation
   * @return this
   */
  public TrainerBuilder dropout(boolean value) {
    dropout = value;
    return this;
  }

  /**
   * Sets whether layers are computed again in the backward pass instead of keeping what it needs:
   * much less memory for about a third more time. They are not if not set.
   *
   * @param value whether to recompute
   * @return this
   */
  public TrainerBuilder recomputation(boolean value) {
    recomputation = value;
    return this;
  }

  /**
   * Sets how much noise is added to embedded tokens (NEFTune); none if not set.
   *
   * @param alpha noise is uniform in ±alpha / sqrt(length · dimension); from 0
   * @return this
   */
  public TrainerBuilder embeddingNoise(double alpha) {
    embeddingNoise = alpha;
    return this;
  }

  /**
   * Sets what the random numbers of the run (dropout) begin with; 0 if not set. The order of the
   * data is its source's affair.
   *
   * @param value any number
   * @return this
   */
  public TrainerBuilder seed(long value) {
    seed = value;
    return this;
  }

  /**
   * Sets how the model is evaluated meanwhile; it is not if not set.
   *
   * @param value data, interval, metrics, early stopping
   * @return this
   */
  public TrainerBuilder evaluation(EvaluationSettings value) {
    evaluation = value;
    return this;
  }

  /**
   * Sets where and how often the run is saved; it is not if not set.
   *
   * @param value directory and interval
   * @return this
   */
  public TrainerBuilder checkpoints(CheckpointSettings value) {
    checkpoints = value;
    return this;
  }

  /**
   * Goes on from the newest checkpoint, or begins where there is none yet, so that a program that
   * was killed need only be started again. The run ends with the same bits as one that was never
   * interrupted: model, data and settings must be those of the first time, the model as it was
   * before it was trained.
   *
   * @return this
   */
  public TrainerBuilder resume() {
    resume = true;
    resumeFrom = null;
    return this;
  }

  /**
   * Goes on from a given checkpoint, see {@link #resume()}.
   *
   * @param checkpoint its directory
   * @return this
   */
  public TrainerBuilder resume(Path checkpoint) {
    resume = true;
    resumeFrom = checkpoint;
    return this;
  }

  /**
   * Sets whether the first two updates check that the gradients reach every tensor that is trained;
   * if not set, they do for models with adapters.
   *
   * @param value false for runs in which an adapter is not meant to act in each step, or that are
   *     to train a tensor that the loss does not depend on
   * @return this
   */
  public TrainerBuilder reachCheck(boolean value) {
    reachCheck = value;
    return this;
  }

  /**
   * Adds a listener, for example one that moves a {@link TrainingProgress} on.
   *
   * @param value is told of each step
   * @return this
   */
  public TrainerBuilder listener(TrainingListener value) {
    listeners.add(value);
    return this;
  }

  /** What is trained, computed as was asked for. */
  Trainable trainable() {
    TrainingOptions options = new TrainingOptions(recomputation, embeddingNoise);
    if (adapted != null) {
      return Trainable.of(adapted, options);
    }
    if (model == null) {
      throw new InvalidConfigException("a trainer needs model");
    }
    if (!options.equals(TrainingOptions.PLAIN)) {
      throw new InvalidConfigException(
          "recomputation and embedding noise are for models with adapters; a trainable of one's own"
              + " sets them where it is made");
    }
    return model;
  }

  /**
   * Checks and makes the trainer.
   *
   * @return the trainer
   * @throws InvalidConfigException if something required is missing or a value is out of range
   */
  public Trainer build() {
    return new Trainer(this);
  }
}
