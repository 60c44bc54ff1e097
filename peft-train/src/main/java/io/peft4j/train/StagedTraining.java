package io.peft4j.train;

import io.peft4j.AdapterSet;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftModel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Sequential fine-tuning as one call: stages one after the other, each training its own adapters or
 * parts of a hybrid on its own data while the rest is frozen. After each stage the model is
 * measured on its data and on that of every stage before it.
 *
 * <pre>{@code
 * StagedResult result =
 *     StagedTraining.builder(model)
 *         .stage(Stage.builder("domain").trains("default/domain").trainer(onDomainTexts).build())
 *         .stage(Stage.builder("task").trains("default/task").trainer(onTheTask).build())
 *         .directory(Path.of("run"))
 *         .resume()
 *         .build()
 *         .run();
 * System.out.println(result);   // after domain: domain=2.1034
 *                               // after task: domain=2.1790 task=0.4417
 * }</pre>
 *
 * <p>With a directory each stage keeps its last checkpoint in {@code <number>-<name>} below it, as
 * {@link io.peft4j.train.checkpoint.CheckpointStore} describes. A training that is resumed takes
 * what its finished stages trained from there, measures again, which gives the same numbers, and
 * goes on in the stage that was cut off; it ends with the same bits as one that never was.
 *
 * <p>A value that holds nothing to close; it runs once.
 */
public final class StagedTraining {
  private final PeftModel model;
  private final List<Stage> stages;
  private final List<Trainer> trainers = new ArrayList<>();
  private final List<Stopped> stopped = new ArrayList<>();

  private StagedTraining(Builder builder) {
    model = builder.model;
    stages = List.copyOf(builder.stages);
    Path directory = builder.directory;
    if (stages.isEmpty()) {
      throw new InvalidConfigException("a training in stages needs at least one stage");
    }
    if (builder.resume && directory == null) {
      throw new InvalidConfigException("stages that are to be resumed need a directory");
    }
    for (Stage stage : stages) {
      String name = stage.name().toLowerCase(Locale.ROOT);
      if (stages.stream()
          .anyMatch(s -> s != stage && s.name().toLowerCase(Locale.ROOT).equals(name))) {
        throw new InvalidConfigException(
            "two stages are named '" + stage.name() + "', or differ in case only");
      }
      // Made before the first stage begins, so that what is wrong with the last is told now.
      Stopped control = new Stopped();
      TrainerBuilder trainer = stage.trainer().model(model).listener(control);
      if (directory != null) {
        Path place = directory.resolve((trainers.size() + 1) + "-" + stage.name());
        trainer.checkpoints(
            CheckpointSettings.builder(place).every(builder.every).totalLimit(1).build());
      }
      trainers.add((builder.resume ? trainer.resume() : trainer).build());
      stopped.add(control);
    }
  }

  /**
   * Starts a training.
   *
   * @param model the model; it stays the caller's. What acts and what is trained is afterwards what
   *     it was before
   * @return a builder
   */
  public static Builder builder(PeftModel model) {
    return new Builder(model);
  }

  /**
   * Trains all stages. One that is asked to stop, by a listener, is the last.
   *
   * @return what each stage came to
   * @throws io.peft4j.PeftException as {@link Trainer#run} does
   */
  public StagedResult run() {
    AdapterSet active = model.activeAdapters();
    String[] trained = model.trainedAdapters().toArray(String[]::new);
    try {
      for (Stage stage : stages) {
        model.with(stage.acting(active));
        model.trainAdapters(stage.trained().toArray(String[]::new));
      }
      return run(active);
    } finally {
      model.setActiveAdapters(active);
      model.trainAdapters(trained);
    }
  }

  private StagedResult run(AdapterSet active) {
    List<StagedResult.AfterStage> done = new ArrayList<>();
    for (int i = 0; i < stages.size(); i++) {
      Stage stage = stages.get(i);
      model.setActiveAdapters(stage.acting(active));
      model.trainAdapters(stage.trained().toArray(String[]::new));
      TrainingResult result = trainers.get(i).run();
      boolean ended = !stopped.get(i).stopped();
      Map<String, Evaluation> measured = ended ? measure(i, result) : Map.of();
      done.add(new StagedResult.AfterStage(stage.name(), stage.trained(), result, measured));
      if (!ended) {
        return new StagedResult(done, false);
      }
    }
    return new StagedResult(done, true);
  }

  private Map<String, Evaluation> measure(int last, TrainingResult result) {
    Map<String, Evaluation> measured = new LinkedHashMap<>();
    for (Stage stage : stages.subList(0, last + 1)) {
      Evaluator evaluator = new Evaluator(Trainable.of(model), stage.loss(), stage.evaluation());
      measured.put(stage.name(), evaluator.evaluate(result.steps(), 0));
    }
    return measured;
  }

  /** Learns whether a stage was asked to stop before its end. */
  private static final class Stopped implements TrainingListener {
    private @Nullable TrainingControl control;

    boolean stopped() {
      TrainingControl given = control;
      return given != null && given.stopped();
    }

    @Override
    public void onBegin(TrainingControl given) {
      control = given;
    }

    @Override
    public void onStep(TrainingStep step) {}
  }

  /** Collects stages. For the use of one thread. */
  public static final class Builder {
    private final PeftModel model;
    private final List<Stage> stages = new ArrayList<>();
    private @Nullable Path directory;
    private Interval every = Interval.epochs();
    private boolean resume;

    private Builder(PeftModel model) {
      this.model = model;
    }

    /**
     * Adds a stage.
     *
     * @param stage the next one
     * @return this
     */
    public Builder stage(Stage stage) {
      stages.add(stage);
      return this;
    }

    /**
     * Sets where stages are saved, after each epoch and at their end; they are not if not set.
     *
     * @param value the directory, made if it is missing
     * @return this
     */
    public Builder directory(Path value) {
      directory = value;
      return this;
    }

    /**
     * Sets how often a stage is saved while it goes on; each epoch if not set.
     *
     * @param value the interval
     * @return this
     */
    public Builder saveEvery(Interval value) {
      every = value;
      return this;
    }

    /**
     * Goes on where a training was cut off, or begins where there is none yet. Model, data and
     * settings must be those of the first time, the model as it was before it was trained.
     *
     * @return this
     */
    public Builder resume() {
      resume = true;
      return this;
    }

    /**
     * Checks and makes the training.
     *
     * @return the training
     * @throws InvalidConfigException if there is no stage, two have one name, or a trainer lacks
     *     something
     */
    public StagedTraining build() {
      return new StagedTraining(this);
    }
  }
}
