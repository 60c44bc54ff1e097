package io.peft4j.cli.train;

import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.cli.Sizes;
import io.peft4j.models.LoadOptions;
import io.peft4j.torch.Precision;
import io.peft4j.train.Interval;
import io.peft4j.train.OptimizerSettings;
import io.peft4j.train.data.Packing;
import io.peft4j.train.data.TrainedTokens;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * A checked training configuration. Defaults are TRL's, but for the learning rate, which is the
 * method's, and for evaluation, which is done at the end of every epoch where there is a data set
 * for it.
 *
 * @param settings the file it comes from
 * @param model what is trained
 * @param data what it is trained on
 * @param steps how long, and how a step is made
 * @param optimizer how parameters move
 * @param output what is written, and when
 */
record TrainConfig(
    Settings settings,
    ModelPart model,
    DataPart data,
    StepPart steps,
    OptimizerPart optimizer,
    OutputPart output) {
  private static final List<String> WHEN = List.of("no", "steps", "epoch");

  /**
   * What is trained.
   *
   * @param base a Hugging Face directory or GGUF file
   * @param adapter a saved adapter to go on from; null for a new one
   * @param precision what is computed in; null for what suits the CPU
   */
  record ModelPart(Path base, @Nullable Path adapter, @Nullable Precision precision) {
    LoadOptions loadOptions() {
      LoadOptions.Builder options = LoadOptions.builder();
      return (precision == null ? options : options.precision(precision)).build();
    }
  }

  /**
   * What it is trained on.
   *
   * @param train files of JSON lines
   * @param evaluation files of JSON lines to evaluate on; may be empty
   * @param maxSamples most rows taken of each data set; 0 for all
   * @param maxLength most tokens of a row
   * @param packing how rows are put together
   * @param paddingFree whether the rows of a batch are laid end to end
   * @param groupByLength whether rows of like length form batches
   * @param trained which tokens are learned
   * @param seed what the order depends on
   */
  record DataPart(
      List<Path> train,
      List<Path> evaluation,
      int maxSamples,
      int maxLength,
      Packing packing,
      boolean paddingFree,
      boolean groupByLength,
      TrainedTokens trained,
      long seed) {}

  /**
   * How long, and how a step is made.
   *
   * @param epochs how often the data is gone through
   * @param maxSteps updates; 0 to go by epochs
   * @param batch rows of a batch; 0 to find what fits
   * @param evaluationBatch rows of a batch in evaluation
   * @param memoryBudget bytes that the process may take where the batch is found; 0 for most of
   *     what is free
   * @param accumulation batches of an update
   * @param recomputation whether layers are computed again in the backward pass
   * @param neftuneAlpha strength of noise on embeddings; 0 for none
   * @param labelSmoothing share of each label that is spread over all tokens
   * @param seed what dropout and new adapters depend on
   */
  record StepPart(
      int epochs,
      long maxSteps,
      int batch,
      int evaluationBatch,
      long memoryBudget,
      int accumulation,
      boolean recomputation,
      double neftuneAlpha,
      double labelSmoothing,
      long seed) {}

  /**
   * How parameters move.
   *
   * @param settings rate, decay, clipping, betas
   * @param eightBit whether large moments have 8 bits
   * @param paged whether moments lie in a file of the run's directory
   * @param schedule the schedule's name
   * @param scheduleOptions what is said about it besides
   * @param warmupSteps updates until the full rate; -1 to go by the ratio
   * @param warmupRatio share of all updates until the full rate
   * @param loraPlusRatio by what B's rate is multiplied; 1 for LoRA as it is
   * @param loraPlusEmbeddingRate rate of embeddings with LoRA+
   */
  record OptimizerPart(
      OptimizerSettings settings,
      boolean eightBit,
      boolean paged,
      String schedule,
      Map<String, JsonNode> scheduleOptions,
      long warmupSteps,
      double warmupRatio,
      double loraPlusRatio,
      double loraPlusEmbeddingRate) {}

  /**
   * What is written, and when.
   *
   * @param directory where to
   * @param overwrite whether the directory may hold something
   * @param resume whether a run that was cut off goes on
   * @param checkpoint the checkpoint to go on from; null for the last
   * @param dryRun whether nothing is trained
   * @param loggingSteps updates between two lines of metrics
   * @param tensorBoard whether event files are written
   * @param plot whether the loss is drawn
   * @param evaluate when there is an evaluation
   * @param save when there is a checkpoint
   * @param saveLimit most checkpoints kept; 0 for all
   * @param loadBest whether the best checkpoint is what is saved at the end
   * @param bestMetric the measure of the best
   * @param greaterIsBetter whether more of it is better; null for the measure's own
   * @param patience evaluations without gain until training stops; 0 to go on
   * @param threshold least gain
   */
  record OutputPart(
      Path directory,
      boolean overwrite,
      boolean resume,
      @Nullable Path checkpoint,
      boolean dryRun,
      int loggingSteps,
      boolean tensorBoard,
      boolean plot,
      When evaluate,
      When save,
      int saveLimit,
      boolean loadBest,
      @Nullable String bestMetric,
      @Nullable Boolean greaterIsBetter,
      int patience,
      double threshold) {}

  /**
   * When something is done.
   *
   * @param steps every so many updates; 0 for not by updates
   * @param epochs at the end of each epoch
   */
  record When(long steps, boolean epochs) {
    boolean ever() {
      return steps > 0 || epochs;
    }

    Interval interval() {
      return steps > 0 ? Interval.steps(steps) : epochs ? Interval.epochs() : Interval.never();
    }
  }

  static TrainConfig of(Settings settings) {
    refuseForeign(settings);
    return new TrainConfig(
        settings,
        model(settings),
        data(settings),
        steps(settings),
        optimizer(settings),
        output(settings));
  }

  /** What other tools take and cannot be followed here is refused, not passed over. */
  private static void refuseForeign(Settings settings) {
    if (settings.flag(Keys.FP16, false)) {
      throw settings.wrong(
          settings.key(Keys.FP16)
              + ": float16 is too narrow to train in without loss scaling; give bf16: true, or"
              + " dtype: float32");
    }
    settings.choice(Keys.STAGE, "sft", List.of("sft"));
    if (!settings.flag(Keys.DO_TRAIN, true)) {
      throw settings.wrong(Keys.DO_TRAIN, "true: peft train trains; see dry_run");
    }
    optimizerName(settings);
  }

  private static ModelPart model(Settings settings) {
    String base = settings.text(Keys.MODEL);
    if (base == null) {
      throw settings.wrong(Keys.MODEL.name() + " is needed: a directory or a GGUF file");
    }
    String adapter = settings.text(Keys.ADAPTER);
    if (adapter != null && settings.hasMethodSettings()) {
      throw settings.wrong(
          settings.key(Keys.ADAPTER)
              + " goes on from a saved adapter, which has its own settings: leave those of "
              + settings.methodName()
              + " away");
    }
    return new ModelPart(
        Path.of(base), adapter == null ? null : Path.of(adapter), precision(settings));
  }

  private static @Nullable Precision precision(Settings settings) {
    String type =
        settings.choice(
            Keys.DTYPE, "auto", List.of("auto", "float32", "bf16", "bfloat16", "fp16", "float16"));
    if (type.equals("fp16") || type.equals("float16")) {
      throw settings.wrong(
          settings.key(Keys.DTYPE)
              + ": float16 is too narrow to train in without loss scaling; give auto, float32 or"
              + " bf16");
    }
    boolean bf16 = settings.flag(Keys.BF16, false);
    if (bf16 && type.equals("float32")) {
      throw settings.wrong("bf16: true and " + settings.key(Keys.DTYPE) + ": float32 contradict");
    }
    return bf16 || type.startsWith("bf")
        ? Precision.BFLOAT16
        : type.equals("float32") ? Precision.FLOAT32 : null;
  }

  private static DataPart data(Settings settings) {
    List<Path> train = settings.texts(Keys.DATASET).stream().map(Path::of).toList();
    if (train.isEmpty()) {
      throw settings.wrong(Keys.DATASET.name() + " is needed: one or more files of JSON lines");
    }
    return new DataPart(
        train,
        settings.texts(Keys.EVAL_DATASET).stream().map(Path::of).toList(),
        (int) settings.integer(Keys.MAX_SAMPLES, 1, Integer.MAX_VALUE).orElse(0),
        (int) settings.integer(Keys.MAX_LENGTH, 2, Integer.MAX_VALUE).orElse(1024),
        packing(settings),
        settings.flag(Keys.PADDING_FREE, false),
        settings.flag(Keys.GROUP_BY_LENGTH, false),
        trained(settings),
        settings.integer(Keys.DATA_SEED, Long.MIN_VALUE, Long.MAX_VALUE).orElse(seed(settings)));
  }

  private static Packing packing(Settings settings) {
    boolean packing = settings.flag(Keys.PACKING, false);
    boolean free = settings.flag(Keys.PADDING_FREE, false);
    String strategy =
        settings.choice(Keys.PACKING_STRATEGY, "bfd", List.of("bfd", "ffd", "wrapped"));
    if (packing && free) {
      throw settings.wrong("packing has no padding anyway: give packing or padding_free");
    }
    if ((packing || free) && settings.flag(Keys.GROUP_BY_LENGTH, false)) {
      throw settings.wrong(
          settings.key(Keys.GROUP_BY_LENGTH) + " saves padding, of which packed rows have none");
    }
    if (!packing) {
      return Packing.NONE;
    }
    return strategy.equals("wrapped") ? Packing.WRAPPED : Packing.BEST_FIT;
  }

  private static TrainedTokens trained(Settings settings) {
    boolean assistant = settings.flag(Keys.ASSISTANT_ONLY, false);
    boolean prompt = settings.flag(Keys.TRAIN_ON_PROMPT, false);
    boolean said = settings.has(Keys.COMPLETION_ONLY);
    boolean completion = settings.flag(Keys.COMPLETION_ONLY, false);
    if ((assistant ? 1 : 0) + (prompt ? 1 : 0) + (completion ? 1 : 0) > 1) {
      throw settings.wrong(
          "assistant_only_loss, completion_only_loss and train_on_prompt exclude each other");
    }
    if (assistant) {
      return TrainedTokens.ASSISTANT;
    }
    if (prompt || (said && !completion)) {
      return TrainedTokens.ALL;
    }
    return completion ? TrainedTokens.COMPLETION : TrainedTokens.USUAL;
  }

  private static StepPart steps(Settings settings) {
    boolean auto = settings.is(Keys.BATCH, "auto");
    if (!auto && settings.has(Keys.MEMORY_BUDGET)) {
      throw settings.wrong(
          Keys.MEMORY_BUDGET.name() + " is for " + settings.key(Keys.BATCH) + ": auto");
    }
    String budget = settings.text(Keys.MEMORY_BUDGET);
    return new StepPart(
        (int) settings.integer(Keys.EPOCHS, 1, Integer.MAX_VALUE).orElse(3),
        settings.integer(Keys.STEPS, -1, Long.MAX_VALUE).stream()
            .filter(n -> n > 0)
            .findAny()
            .orElse(0),
        auto ? 0 : (int) settings.integer(Keys.BATCH, 1, 1 << 16).orElse(8),
        (int) settings.integer(Keys.EVAL_BATCH, 1, 1 << 16).orElse(8),
        budget == null ? 0 : Sizes.parse(Keys.MEMORY_BUDGET.name(), budget),
        (int) settings.integer(Keys.ACCUMULATION, 1, 1 << 20).orElse(1),
        settings.flag(Keys.CHECKPOINTING, false),
        settings.number(Keys.NEFTUNE, 0, 1e6).orElse(0),
        settings.number(Keys.SMOOTHING, 0, 0.999).orElse(0),
        seed(settings));
  }

  private static long seed(Settings settings) {
    return settings.integer(Keys.SEED, Long.MIN_VALUE, Long.MAX_VALUE).orElse(42);
  }

  /** transformers' names for AdamW; where large states have 8 bits, as bitsandbytes has them. */
  private static String optimizerName(Settings settings) {
    return settings.choice(
        Keys.OPTIMIZER,
        "adamw_torch",
        List.of(
            "adamw_torch",
            "adamw_torch_fused",
            "adamw",
            "adamw_8bit",
            "adamw_bnb_8bit",
            "paged_adamw",
            "paged_adamw_32bit",
            "paged_adamw_8bit"));
  }

  private static OptimizerPart optimizer(Settings settings) {
    OptimizerSettings.Builder moves = OptimizerSettings.builder();
    moves.learningRate(settings.number(Keys.LEARNING_RATE, 0, 1e6).orElse(settings.learningRate()));
    settings.number(Keys.WEIGHT_DECAY, 0, 1e6).ifPresent(moves::weightDecay);
    OptionalDouble norm = settings.number(Keys.MAX_NORM, 0, Double.MAX_VALUE);
    // transformers' way to say that gradients are not clipped.
    norm.ifPresent(n -> moves.maxGradientNorm(n == 0 ? Double.POSITIVE_INFINITY : n));
    moves.betas(
        settings.number(Keys.BETA1, 0, 1).orElse(0.9),
        settings.number(Keys.BETA2, 0, 1).orElse(0.999));
    settings.number(Keys.EPSILON, 0, 1).ifPresent(moves::epsilon);
    OptionalLong warmupSteps = settings.integer(Keys.WARMUP_STEPS, 0, Long.MAX_VALUE);
    OptionalDouble warmupRatio = settings.number(Keys.WARMUP_RATIO, 0, 1);
    // transformers lets the steps win; saying both is more likely a mistake.
    if (warmupSteps.orElse(0) > 0 && warmupRatio.orElse(0) > 0) {
      throw settings.wrong("warmup_steps and warmup_ratio say the same: give one");
    }
    String name = optimizerName(settings);
    return new OptimizerPart(
        checked(settings, moves),
        name.endsWith("_8bit"),
        name.startsWith("paged_"),
        settings.choice(Keys.SCHEDULE, "linear", Schedules.NAMES),
        settings.mapping(Keys.SCHEDULE_OPTIONS),
        warmupSteps.orElse(warmupRatio.isPresent() ? -1 : 0),
        warmupRatio.orElse(0),
        settings.number(Keys.LORAPLUS_RATIO, 0, 1e6).orElse(1),
        settings.number(Keys.LORAPLUS_EMBEDDING, 0, 1e6).orElse(1e-6));
  }

  private static OptimizerSettings checked(Settings settings, OptimizerSettings.Builder moves) {
    try {
      return moves.build();
    } catch (InvalidConfigException e) {
      throw settings.wrong(String.valueOf(e.getMessage()));
    }
  }

  private static OutputPart output(Settings settings) {
    boolean dryRun = settings.flag(Keys.DRY_RUN, false);
    String directory = settings.text(Keys.OUTPUT);
    if (directory == null && !dryRun) {
      throw settings.wrong(Keys.OUTPUT.name() + " is needed: where the result goes");
    }
    boolean resumeFlag = settings.isFlag(Keys.RESUME);
    boolean resume = resumeFlag ? settings.flag(Keys.RESUME, false) : settings.has(Keys.RESUME);
    String checkpoint = resumeFlag ? null : settings.text(Keys.RESUME);
    boolean evaluates = settings.has(Keys.EVAL_DATASET);
    When evaluate = when(settings, Keys.EVAL_STRATEGY, Keys.EVAL_STEPS, evaluates ? "epoch" : "no");
    if (evaluate.ever() && !evaluates) {
      throw settings.wrong(
          settings.key(Keys.EVAL_STRATEGY) + " needs an " + Keys.EVAL_DATASET.name());
    }
    When save = when(settings, Keys.SAVE_STRATEGY, Keys.SAVE_STEPS, "epoch");
    boolean loadBest = settings.flag(Keys.LOAD_BEST, false);
    int patience = (int) settings.integer(Keys.PATIENCE, 0, Integer.MAX_VALUE).orElse(0);
    if ((loadBest || patience > 0) && !evaluate.ever()) {
      throw settings.wrong(
          (loadBest ? settings.key(Keys.LOAD_BEST) : settings.key(Keys.PATIENCE))
              + " needs evaluations: give an "
              + Keys.EVAL_DATASET.name());
    }
    List<String> reports = settings.texts(Keys.REPORT_TO);
    for (String report : reports) {
      if (!List.of("none", "tensorboard").contains(report)) {
        throw settings.wrong(
            Keys.REPORT_TO, "none or tensorboard (metrics.jsonl is always written)");
      }
    }
    return new OutputPart(
        Path.of(directory == null ? "." : directory),
        settings.flag(Keys.OVERWRITE, false),
        resume,
        checkpoint == null ? null : Path.of(checkpoint),
        dryRun,
        (int) settings.integer(Keys.LOGGING_STEPS, 1, Integer.MAX_VALUE).orElse(10),
        reports.contains("tensorboard"),
        settings.flag(Keys.PLOT_LOSS, true),
        evaluate,
        save,
        (int) settings.integer(Keys.SAVE_LIMIT, 1, Integer.MAX_VALUE).orElse(0),
        loadBest,
        settings.text(Keys.BEST_METRIC),
        settings.has(Keys.GREATER_IS_BETTER) ? settings.flag(Keys.GREATER_IS_BETTER, false) : null,
        patience,
        settings.number(Keys.THRESHOLD, 0, 1e9).orElse(0));
  }

  private static When when(Settings settings, Key strategy, Key steps, String otherwise) {
    OptionalLong every = settings.integer(steps, 1, Long.MAX_VALUE);
    // Naming a number of steps is naming the strategy.
    String chosen = settings.choice(strategy, every.isPresent() ? "steps" : otherwise, WHEN);
    return switch (chosen) {
      case "steps" -> new When(every.orElse(500), false);
      case "epoch" -> new When(0, true);
      default -> new When(0, false);
    };
  }
}
