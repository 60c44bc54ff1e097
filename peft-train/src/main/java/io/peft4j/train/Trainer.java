package io.peft4j.train;

import io.peft4j.ForwardMode;
import io.peft4j.InvalidConfigException;
import io.peft4j.TrainableParameter;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * A training run: takes batches, computes loss and gradients, clips them, updates the parameters,
 * until so many epochs or steps have been made.
 *
 * <pre>{@code
 * TrainingResult result =
 *     Trainer.builder()
 *         .model(model)
 *         .loss(Losses.crossEntropy())
 *         .batches(batches)
 *         .learningRate(2e-3)
 *         .schedule(LearningRateSchedule.linear(20))
 *         .epochs(3)
 *         .build()
 *         .run();
 * }</pre>
 *
 * <p>A run repeats bit for bit on one machine for the same seed, parameters, data and number of
 * engine threads. Before each step the engine's random numbers, of which there is one sequence for
 * the whole process, are begun anew from the seed and the number of the step: what else draws from
 * them meanwhile disturbs a run that has dropout, and is disturbed.
 *
 * <p>A trainer is a value and holds nothing to close; what a step makes is freed when it ends.
 * {@link #run} keeps the thread that calls it busy; different runs may go on in different threads.
 */
public final class Trainer {
  final Trainable model;
  final Loss loss;
  final BatchSource batches;
  final OptimizerSettings settings;
  final OptimizerStorage storage;
  final LearningRateSchedule schedule;
  private final Function<List<TrainableParameter>, List<ParameterGroup>> groups;
  private final Function<List<ParameterGroup>, Optimizer> optimizer;
  final ForwardMode mode;
  final int accumulation;
  final long seed;
  final long totalSteps;
  final List<TrainingListener> listeners;
  final @Nullable EvaluationSettings evaluation;
  final @Nullable CheckpointSettings checkpoints;
  final boolean resume;
  final @Nullable Path resumeFrom;
  final boolean reachCheck;

  Trainer(TrainerBuilder builder) {
    model = builder.trainable();
    loss = required(builder.loss, "loss");
    batches = required(builder.batches, "batches");
    settings = builder.settings.build();
    schedule = builder.schedule;
    Function<List<TrainableParameter>, List<ParameterGroup>> chosenGroups = builder.groups;
    groups =
        chosenGroups == null
            ? all -> List.of(new ParameterGroup(all, 1, settings.weightDecay()))
            : chosenGroups;
    Function<List<ParameterGroup>, Optimizer> chosenOptimizer = builder.optimizer;
    storage = builder.storage;
    optimizer =
        chosenOptimizer == null ? all -> new AdamW(all, settings, storage) : chosenOptimizer;
    mode = builder.dropout ? ForwardMode.TRAINING : ForwardMode.TRAINING_WITHOUT_DROPOUT;
    accumulation = atLeastOne("gradient accumulation", builder.accumulation);
    seed = builder.seed;
    totalSteps = totalSteps(builder.epochs, builder.steps);
    listeners = List.copyOf(builder.listeners);
    evaluation = builder.evaluation;
    checkpoints = builder.checkpoints;
    resume = builder.resume;
    resumeFrom = builder.resumeFrom;
    Boolean chosenCheck = builder.reachCheck;
    reachCheck = chosenCheck == null ? builder.adapted != null : chosenCheck;
    CheckpointSettings saved = checkpoints;
    if (saved == null && resume) {
      throw new InvalidConfigException("a run that is to be resumed needs a checkpoint directory");
    }
    if (saved != null && saved.loadBestAtEnd() && evaluation == null) {
      throw new InvalidConfigException("loading the best model at the end needs an evaluation");
    }
  }

  private static <T> T required(@Nullable T value, String what) {
    if (value == null) {
      throw new InvalidConfigException("a trainer needs " + what);
    }
    return value;
  }

  private static int atLeastOne(String what, int value) {
    if (value < 1) {
      throw new InvalidConfigException(what + " must be at least 1, was " + value);
    }
    return value;
  }

  private long totalSteps(int epochs, long steps) {
    if (steps > 0) {
      return steps;
    }
    OptionalInt perEpoch = batches.batchesPerEpoch();
    if (perEpoch.isEmpty()) {
      throw new InvalidConfigException(
          "these batches do not say how many there are in an epoch: set steps instead of epochs");
    }
    long updates = (perEpoch.getAsInt() + accumulation - 1L) / accumulation;
    return Math.multiplyExact(atLeastOne("epochs", epochs), updates);
  }

  /**
   * Starts a trainer.
   *
   * @return a builder
   */
  public static TrainerBuilder builder() {
    return new TrainerBuilder();
  }

  /**
   * How many updates a run makes.
   *
   * @return steps
   */
  public long totalSteps() {
    return totalSteps;
  }

  /**
   * Trains, from the beginning or from a checkpoint.
   *
   * @return losses and rates
   * @throws DivergenceException if a loss or gradient is not finite; the parameters are then those
   *     before that step
   * @throws InvalidConfigException if there is nothing to train, an epoch has no batches or a step
   *     no labels that count, or a run that begins would mix its checkpoints with another's
   * @throws io.peft4j.AdapterStateException if a checkpoint is of another run, or what is to be
   *     trained is not reached by gradients
   * @throws io.peft4j.MalformedFileException if a checkpoint is damaged
   */
  public TrainingResult run() {
    List<ParameterGroup> chosen = groups.apply(model.parameters());
    try (Optimizer state = optimizer.apply(chosen)) {
      return new Run(this, chosen, state).run();
    }
  }
}
