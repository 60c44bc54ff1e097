package io.peft4j.train;

import ai.djl.engine.Engine;
import ai.djl.ndarray.NDScope;
import io.peft4j.InvalidConfigException;
import io.peft4j.TrainableParameter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** One run of a trainer: the loop, and what changes while it goes round. */
final class Run {
  private final Trainer trainer;
  private final List<TrainableParameter> parameters;
  private final Optimizer optimizer;
  private final @Nullable RunCheckpoints checkpoints;
  private final @Nullable Evaluator evaluator;
  private final TrainingControl control = new TrainingControl();
  private final long started = System.nanoTime();
  private RunState state = new RunState();
  private @Nullable ReachCheck reach;

  /** The adapters that acted since the last update; null for all that are active. */
  private @Nullable Set<String> checked;

  private long saved;

  /** Rows and tokens of this process, for the rates. */
  private long samples;

  private long tokens;

  Run(Trainer trainer, List<ParameterGroup> groups, Optimizer optimizer) {
    this.trainer = trainer;
    this.optimizer = optimizer;
    // What no group names is not zeroed, so it must not count when gradients are clipped either.
    parameters = groups.stream().flatMap(group -> group.parameters().stream()).toList();
    CheckpointSettings wanted = trainer.checkpoints;
    checkpoints =
        wanted == null
            ? null
            : new RunCheckpoints(
                wanted, trainer.model, parameters, optimizer, Fingerprint.of(trainer, groups));
    EvaluationSettings evaluation = trainer.evaluation;
    evaluator = evaluation == null ? null : new Evaluator(trainer.model, trainer.loss, evaluation);
  }

  TrainingResult run() {
    try {
      begin();
      while (!state.finished && !control.stopped() && state.step() < trainer.totalSteps) {
        epoch();
      }
      return end();
    } catch (RuntimeException | Error failure) {
      for (TrainingListener listener : trainer.listeners) {
        try {
          listener.onFailure(failure);
        } catch (RuntimeException another) {
          failure.addSuppressed(another);
        }
      }
      throw failure;
    }
  }

  private void begin() {
    // What is left of a backward pass before this run is not part of it.
    optimizer.zeroGradients();
    if (checkpoints != null) {
      state = trainer.resume ? checkpoints.resume(trainer.resumeFrom) : checkpoints.begin();
      saved = state.step();
    }
    if (trainer.reachCheck && state.step() == 0) {
      reach = new ReachCheck(parameters);
    }
    tell(listener -> listener.onBegin(control));
  }

  private TrainingResult end() {
    RunCheckpoints store = checkpoints;
    if (store != null && store.settings().loadBestAtEnd() && !control.stopped()) {
      store.loadBest(state);
    }
    TrainingResult result =
        new TrainingResult(
            state.losses,
            state.norms,
            state.seconds + seconds(),
            state.samples,
            state.tokens,
            state.evaluations);
    tell(listener -> listener.onEnd(result));
    return result;
  }

  private void epoch() {
    Iterator<Batch> remaining = trainer.batches.epoch(state.epoch, state.taken);
    try (Evaluator.Closing closing = new Evaluator.Closing(remaining)) {
      if (!remaining.hasNext()) {
        throw new InvalidConfigException(
            "epoch "
                + state.epoch
                + (state.taken == 0
                    ? " has no batches"
                    : " has no batch after the first " + state.taken + ", which were trained"));
      }
      boolean more = true;
      while (more) {
        step(remaining);
        more = after(remaining);
      }
    }
  }

  /** What is due after a step. Tells whether the epoch goes on. */
  private boolean after(Iterator<Batch> remaining) {
    boolean done = state.step() == trainer.totalSteps;
    boolean more = !done && remaining.hasNext();
    int epoch = state.epoch;
    if (!more && !done) {
      state.epoch++;
      state.taken = 0;
    }
    boolean improved = evaluateIfDue(epoch, !more, done);
    if (!more) {
      if (reach != null) {
        reach.epochEnded();
      }
      tell(listener -> listener.onEpochEnd(epoch));
    }
    state.finished |= done;
    boolean last = state.finished || control.stopped();
    saveIfDue(!more, last, improved);
    return more && !last;
  }

  private boolean evaluateIfDue(int epoch, boolean epochEnds, boolean done) {
    EvaluationSettings settings = trainer.evaluation;
    Evaluator measures = evaluator;
    if (settings == null
        || measures == null
        || !(done || settings.every().due(state.step(), epochEnds))) {
      return false;
    }
    Evaluation evaluation =
        BestSoFar.judge(measures.evaluate(state.step(), epoch), settings, state);
    state.evaluations.add(evaluation);
    tell(listener -> listener.onEvaluation(evaluation));
    return evaluation.best();
  }

  private void saveIfDue(boolean epochEnds, boolean last, boolean improved) {
    RunCheckpoints store = checkpoints;
    if (store == null || state.step() == saved) {
      return;
    }
    CheckpointSettings settings = store.settings();
    if (settings.every().due(state.step(), epochEnds)
        || (last && settings.atEnd())
        || (improved && settings.loadBestAtEnd())) {
      double before = state.seconds;
      state.seconds += seconds();
      Path directory = store.save(state);
      state.seconds = before;
      saved = state.step();
      tell(listener -> listener.onCheckpoint(saved, directory));
    }
  }

  private void step(Iterator<Batch> remaining) {
    long number = state.step() + 1;
    int epoch = state.epoch;
    Engine.getEngine("PyTorch").setRandomSeed((int) Shuffles.mix(trainer.seed, number));
    double sum = 0;
    long items = 0;
    boolean several = trainer.accumulation > 1;
    List<String> batches = new ArrayList<>();
    Set<String> acting = new HashSet<>();
    boolean all = false;
    for (int i = 0; i < trainer.accumulation && remaining.hasNext(); i++) {
      try (Batch batch = remaining.next();
          NDScope scope = new NDScope()) {
        scope.suppressNotUsedWarning();
        batches.add(describe(epoch, state.taken, batch));
        long counted = trainer.loss.items(batch.labels());
        // The mean over nothing is NaN: a batch of which nothing counts adds nothing.
        if (counted > 0) {
          // Sums are accumulated, and divided once all items of the step are known.
          double weight = several ? counted : 1;
          double value =
              trainer.model.accumulateGradients(batch, trainer.loss, trainer.mode, weight);
          if (!Double.isFinite(value)) {
            throw diverged(number, "the loss is " + value, batches.subList(i, i + 1));
          }
          sum += counted * value;
          items += counted;
        }
        all |= batch.adapters().isEmpty();
        acting.addAll(batch.adapters());
        state.taken++;
        state.samples += batch.rows();
        state.tokens += batch.tokens();
        samples += batch.rows();
        tokens += batch.tokens();
      }
    }
    if (items == 0) {
      throw new InvalidConfigException(
          "step " + number + ": no label of its batches counts: " + String.join("; ", batches));
    }
    checked = all ? null : acting;
    if (acting.stream().anyMatch(name -> name.indexOf('/') >= 0)) {
      // Rows that name parts of hybrids: which tensors those have is not known here.
      reach = null;
    }
    update(number, sum / items, several ? 1.0 / items : 1, batches);
  }

  private static String describe(int epoch, int index, Batch batch) {
    return "batch "
        + index
        + " of epoch "
        + epoch
        + (batch.origin().isEmpty() ? "" : " (" + batch.origin() + ")");
  }

  private DivergenceException diverged(long number, String what, List<String> batches) {
    optimizer.zeroGradients();
    return new DivergenceException(number, what + " at " + String.join("; ", batches));
  }

  private void update(long number, double value, double factor, List<String> batches) {
    double rate =
        trainer.settings.learningRate() * trainer.schedule.factor(number - 1, trainer.totalSteps);
    Map<String, Double> shares = adapterNorms(factor);
    double norm = Gradients.scaleAndClip(parameters, factor, trainer.settings.maxGradientNorm());
    if (!Double.isFinite(norm)) {
      throw diverged(number, "the norm of the gradients is " + norm, batches);
    }
    checkReach(rate);
    optimizer.step(rate);
    optimizer.zeroGradients();
    if (reach != null) {
      reach.afterUpdate();
    }
    state.losses.add(value);
    state.norms.add(norm);
    TrainingStep done =
        new TrainingStep(
            number,
            trainer.totalSteps,
            state.epoch,
            value,
            rate,
            norm,
            samples / seconds(),
            tokens / seconds(),
            shares.isEmpty() ? Map.of(parameters.get(0).adapter(), norm) : shares);
    tell(listener -> listener.onStep(done));
  }

  private void checkReach(double rate) {
    ReachCheck check = reach;
    if (check != null) {
      check.beforeUpdate(rate, checked);
      reach = check.done() ? null : check;
    }
  }

  /** Empty if there is one adapter only, whose norm is that of all. */
  private Map<String, Double> adapterNorms(double factor) {
    Map<String, Double> squares = new TreeMap<>();
    if (trainer.listeners.isEmpty()
        || parameters.stream().map(TrainableParameter::adapter).distinct().count() == 1) {
      return squares;
    }
    float[] norms = Gradients.norms(parameters);
    for (int i = 0; i < norms.length; i++) {
      squares.merge(parameters.get(i).adapter(), (double) norms[i] * norms[i], Double::sum);
    }
    squares.replaceAll((adapter, square) -> factor * Math.sqrt(square));
    return squares;
  }

  private void tell(Consumer<TrainingListener> what) {
    trainer.listeners.forEach(what);
  }

  private double seconds() {
    return Math.max(1, System.nanoTime() - started) / 1e9;
  }
}
