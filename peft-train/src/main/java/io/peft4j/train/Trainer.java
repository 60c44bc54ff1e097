package io.peft4j.train;

import ai.djl.engine.Engine;
import ai.djl.ndarray.NDScope;
import io.peft4j.ForwardMode;
import io.peft4j.InvalidConfigException;
import io.peft4j.TrainableParameter;
import java.util.ArrayList;
import java.util.Iterator;
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
  private final Trainable model;
  private final Loss loss;
  private final BatchSource batches;
  private final OptimizerSettings settings;
  private final LearningRateSchedule schedule;
  private final Function<List<TrainableParameter>, List<ParameterGroup>> groups;
  private final Function<List<ParameterGroup>, Optimizer> optimizer;
  private final ForwardMode mode;
  private final int accumulation;
  private final long seed;
  private final long totalSteps;
  private final List<TrainingListener> listeners;

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
    optimizer = chosenOptimizer == null ? all -> new AdamW(all, settings) : chosenOptimizer;
    mode = builder.dropout ? ForwardMode.TRAINING : ForwardMode.TRAINING_WITHOUT_DROPOUT;
    accumulation = atLeastOne("gradient accumulation", builder.accumulation);
    seed = builder.seed;
    totalSteps = totalSteps(builder.epochs, builder.steps);
    listeners = List.copyOf(builder.listeners);
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
   * Trains, beginning with an optimizer that remembers nothing.
   *
   * @return losses and rates
   * @throws DivergenceException if a loss or gradient is not finite; the parameters are then those
   *     before that step
   * @throws InvalidConfigException if there is nothing to train, or an epoch has no batches or a
   *     step no labels that count
   */
  public TrainingResult run() {
    List<ParameterGroup> chosen = groups.apply(model.parameters());
    try (Optimizer state = optimizer.apply(chosen)) {
      // What no group names is not zeroed, so it must not count when gradients are clipped either.
      return new Run(chosen.stream().flatMap(g -> g.parameters().stream()).toList(), state).run();
    }
  }

  /** What changes during a run. */
  private final class Run {
    private final List<TrainableParameter> parameters;
    private final Optimizer optimizer;
    private final List<Double> losses = new ArrayList<>();
    private final List<Double> norms = new ArrayList<>();
    private final long started = System.nanoTime();
    private long samples;
    private long tokens;

    Run(List<TrainableParameter> parameters, Optimizer optimizer) {
      this.parameters = parameters;
      this.optimizer = optimizer;
    }

    TrainingResult run() {
      // What is left of a backward pass before this run is not part of it.
      optimizer.zeroGradients();
      for (int epoch = 0; losses.size() < totalSteps; epoch++) {
        Iterator<Batch> remaining = batches.epoch(epoch);
        if (!remaining.hasNext()) {
          throw new InvalidConfigException("epoch " + epoch + " has no batches");
        }
        while (remaining.hasNext() && losses.size() < totalSteps) {
          step(epoch, remaining);
        }
        for (TrainingListener listener : listeners) {
          listener.onEpochEnd(epoch);
        }
      }
      return new TrainingResult(losses, norms, seconds(), samples, tokens);
    }

    private void step(int epoch, Iterator<Batch> remaining) {
      long number = losses.size() + 1;
      Engine.getEngine("PyTorch").setRandomSeed((int) Shuffles.mix(seed, number));
      double sum = 0;
      long items = 0;
      boolean several = accumulation > 1;
      for (int i = 0; i < accumulation && remaining.hasNext(); i++) {
        try (Batch batch = remaining.next();
            NDScope scope = new NDScope()) {
          scope.suppressNotUsedWarning();
          long counted = loss.items(batch.labels());
          // The mean over nothing is NaN: a batch of which nothing counts adds nothing.
          if (counted > 0) {
            // Sums are accumulated, and divided once all items of the step are known.
            double weight = several ? counted : 1;
            sum += counted * model.accumulateGradients(batch, loss, mode, weight);
            items += counted;
          }
          samples += batch.rows();
          tokens += batch.tokens();
        }
      }
      if (items == 0) {
        throw new InvalidConfigException("step " + number + ": no label of its batches counts");
      }
      update(epoch, number, sum / items, several ? 1.0 / items : 1);
    }

    private void update(int epoch, long number, double value, double factor) {
      if (!Double.isFinite(value)) {
        optimizer.zeroGradients();
        throw new DivergenceException(number, "the loss is " + value);
      }
      double norm = Gradients.scaleAndClip(parameters, factor, settings.maxGradientNorm());
      if (!Double.isFinite(norm)) {
        optimizer.zeroGradients();
        throw new DivergenceException(number, "the norm of the gradients is " + norm);
      }
      double rate = settings.learningRate() * schedule.factor(number - 1, totalSteps);
      optimizer.step(rate);
      optimizer.zeroGradients();
      losses.add(value);
      norms.add(norm);
      TrainingStep done =
          new TrainingStep(
              number,
              totalSteps,
              epoch,
              value,
              rate,
              norm,
              samples / seconds(),
              tokens / seconds());
      for (TrainingListener listener : listeners) {
        listener.onStep(done);
      }
    }

    private double seconds() {
      return Math.max(1, System.nanoTime() - started) / 1e9;
    }
  }
}
