package io.peft4j.train;

import io.peft4j.AdapterSet;
import io.peft4j.InvalidConfigException;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * One stage of a {@link StagedTraining}: which adapters, or parts of hybrids, are trained, and how.
 * Immutable, but for the trainer's builder and the metrics, which are for one run.
 */
public final class Stage {
  private final String name;
  private final List<String> trained;
  private final @Nullable AdapterSet acting;
  private final TrainerBuilder trainer;
  private final EvaluationSettings evaluation;

  private Stage(Builder builder) {
    name = builder.name;
    trained = List.copyOf(builder.trained);
    acting = builder.acting;
    if (trained.isEmpty()) {
      throw new InvalidConfigException("stage '" + name + "' trains nothing: name adapters");
    }
    TrainerBuilder given = builder.trainer;
    BatchSource batches = given == null ? null : given.batches;
    if (given == null || batches == null || given.loss == null) {
      throw new InvalidConfigException(
          "stage '" + name + "' needs a trainer with batches and a loss");
    }
    if (given.checkpoints != null || given.resume) {
      throw new InvalidConfigException(
          "stage '"
              + name
              + "': where stages are saved, and whether they are resumed, is set for all of them"
              + " together");
    }
    trainer = given;
    EvaluationSettings own = builder.evaluation;
    evaluation = own == null ? EvaluationSettings.builder(batches).build() : own;
  }

  /**
   * Starts a stage.
   *
   * @param name letters, digits, {@code _} and {@code -}
   * @return a builder
   * @throws InvalidConfigException if it cannot be a name
   */
  public static Builder builder(String name) {
    return new Builder(AdapterSet.checkName(name));
  }

  /**
   * The stage's name.
   *
   * @return the name
   */
  public String name() {
    return name;
  }

  /**
   * What is trained; everything else is frozen.
   *
   * @return names of adapters and parts
   */
  public List<String> trained() {
    return trained;
  }

  /** What acts, given what acts where stages do not say. */
  AdapterSet acting(AdapterSet usual) {
    return acting == null ? usual : acting;
  }

  TrainerBuilder trainer() {
    return trainer;
  }

  Loss loss() {
    Loss loss = trainer.loss;
    if (loss == null) {
      throw new IllegalStateException("checked when the stage was made");
    }
    return loss;
  }

  EvaluationSettings evaluation() {
    return evaluation;
  }

  /** Collects a stage. For the use of one thread. */
  public static final class Builder {
    private final String name;
    private List<String> trained = List.of();
    private @Nullable AdapterSet acting;
    private @Nullable TrainerBuilder trainer;
    private @Nullable EvaluationSettings evaluation;

    private Builder(String name) {
      this.name = name;
    }

    /**
     * Sets what is trained; everything else is frozen meanwhile. Required.
     *
     * @param names adapters, or parts of them ({@code default/domain})
     * @return this
     */
    public Builder trains(String... names) {
      trained = List.of(names);
      return this;
    }

    /**
     * Sets what acts; if not set, what is active when the training begins.
     *
     * @param set the adapters and parts
     * @return this
     */
    public Builder acting(AdapterSet set) {
      acting = set;
      return this;
    }

    /**
     * Sets how the stage is trained: its data, loss, learning rate, schedule, length and whatever
     * else. Required.
     *
     * @param value a builder without a model, checkpoints and resuming; used by one run
     * @return this
     */
    public Builder trainer(TrainerBuilder value) {
      trainer = value;
      return this;
    }

    /**
     * Sets what the model is measured on after this stage and after each later one; if not set, on
     * the data of the stage.
     *
     * @param value data and metrics
     * @return this
     */
    public Builder measuredOn(EvaluationSettings value) {
      evaluation = value;
      return this;
    }

    /**
     * Checks and makes the stage.
     *
     * @return the stage
     * @throws InvalidConfigException if something is missing, or the trainer has what is not a
     *     stage's to say
     */
    public Stage build() {
      return new Stage(this);
    }
  }
}
