package io.peft4j.cli.train;

import ai.djl.engine.Engine;
import io.peft4j.MalformedFileException;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.TrainableParameter;
import io.peft4j.cli.PathGroups;
import io.peft4j.cli.Sizes;
import io.peft4j.models.CausalDecoder;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.Tokenizer;
import io.peft4j.nn.TrainingOptions;
import io.peft4j.qlora.Qlora;
import io.peft4j.qlora.QloraConfig;
import io.peft4j.spi.Adapter;
import io.peft4j.train.Batch;
import io.peft4j.train.BatchSource;
import io.peft4j.train.CheckpointSettings;
import io.peft4j.train.Evaluation;
import io.peft4j.train.EvaluationSettings;
import io.peft4j.train.Loss;
import io.peft4j.train.Losses;
import io.peft4j.train.OptimizerStorage;
import io.peft4j.train.ParameterGroups;
import io.peft4j.train.Trainable;
import io.peft4j.train.Trainer;
import io.peft4j.train.TrainerBuilder;
import io.peft4j.train.TrainingProgress;
import io.peft4j.train.TrainingResult;
import io.peft4j.train.data.InstructionBatches;
import io.peft4j.train.data.InstructionData;
import io.peft4j.train.data.Packing;
import io.peft4j.train.metric.Items;
import io.peft4j.train.metric.Metrics;
import io.peft4j.train.report.LossPlotFile;
import io.peft4j.train.report.MetricsFile;
import io.peft4j.train.report.RunSummary;
import io.peft4j.train.report.TensorBoardWriter;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/** One run of {@code peft train}. Results go to standard output, the rest to standard error. */
final class TrainRun {
  private static final int MOMENTS = 2 * Float.BYTES;

  private final TrainConfig config;
  private final PrintWriter out;
  private final PrintWriter err;
  private final List<String> said = new ArrayList<>();

  TrainRun(TrainConfig config, PrintWriter out, PrintWriter err) {
    this.config = config;
    this.out = out;
    this.err = err;
  }

  void run() {
    check();
    TrainConfig.ModelPart part = config.model();
    // The tokenizer first: if it is missing, the weights need not be loaded to say so.
    try (Tokenizer tokenizer = Tokenizer.load(part.base())) {
      InstructionData train = data(tokenizer, config.data().train());
      say("training data: %s", describe(train));
      InstructionData evaluation = null;
      if (!config.data().evaluation().isEmpty()) {
        evaluation = data(tokenizer, config.data().evaluation());
        say("evaluation data: %s", describe(evaluation));
      }
      try (PretrainedModel base = PretrainedModel.load(part.base(), part.loadOptions())) {
        CausalDecoder.causal(base);
        // A new adapter's method sees to this by itself.
        if (part.adapter() != null && config.settings().methodConfig() instanceof QloraConfig own) {
          Qlora.quantize(base, own.quantization());
        }
        Engine.getEngine("PyTorch").setRandomSeed((int) config.steps().seed());
        try (PeftModel model =
            part.adapter() == null
                ? Peft.wrap(base, config.settings().methodConfig())
                : PeftModel.load(base, part.adapter())) {
          model.trainAdapters(Peft.DEFAULT_ADAPTER);
          say("%s: %s", config.settings().methodName(), model.trainableParameterReport());
          if (config.output().dryRun()) {
            dryRun(model, train);
          } else {
            train(base, model, train, evaluation);
          }
        }
      }
    }
  }

  /** What can be wrong without looking into the files. */
  private void check() {
    Path base = config.model().base();
    if (!Files.exists(base)) {
      throw config
          .settings()
          .wrong(config.settings().key(Keys.MODEL) + ": " + base + " does not exist");
    }
    config.settings().methodConfig();
    for (List<Path> files : List.of(config.data().train(), config.data().evaluation())) {
      for (Path file : files) {
        if (!Files.isRegularFile(file)) {
          throw new MalformedFileException("there is no data file " + file);
        }
      }
    }
    Schedules.of(config.optimizer());
    if (!config.output().dryRun()) {
      OutputDirectory.check(config.output());
    }
  }

  private InstructionData data(Tokenizer tokenizer, List<Path> files) {
    TrainConfig.DataPart part = config.data();
    InstructionData.Builder data =
        InstructionData.builder(tokenizer)
            .files(files.toArray(Path[]::new))
            .maxLength(part.maxLength())
            .trained(part.trained());
    return (part.maxSamples() > 0 ? data.maxSamples(part.maxSamples()) : data).build();
  }

  private static String describe(InstructionData data) {
    return String.format(
        Locale.ROOT,
        "%,d rows (%s), %,d tokens, %,d in the longest row%s",
        data.size(),
        data.form().name().toLowerCase(Locale.ROOT).replace('_', ' '),
        data.tokens(),
        data.longest(),
        data.skipped() == 0 ? "" : String.format(Locale.ROOT, "; %,d left out", data.skipped()));
  }

  private BatchSource batches(InstructionData data, int size) {
    TrainConfig.DataPart part = config.data();
    return InstructionBatches.builder(data)
        .batchSize(size)
        .packing(part.packing())
        .packLength(part.maxLength())
        .paddingFree(part.paddingFree())
        .lengthGrouped(part.groupByLength())
        .seed(part.seed())
        .build();
  }

  private Loss loss() {
    return Losses.causalLanguageModel(config.steps().labelSmoothing());
  }

  private TrialStep trial(PeftModel model) {
    TrainingOptions options =
        new TrainingOptions(config.steps().recomputation(), config.steps().neftuneAlpha());
    return new TrialStep(Trainable.of(model, options), loss());
  }

  private static long moments(PeftModel model) {
    long values = 0;
    for (TrainableParameter parameter : model.trainableParameters()) {
      values += parameter.array().getShape().size();
    }
    return values * MOMENTS;
  }

  private int batchSize(PeftModel model, InstructionData train) {
    if (config.steps().batch() > 0) {
      return config.steps().batch();
    }
    boolean packed = config.data().packing() != Packing.NONE;
    int length = packed ? config.data().maxLength() : train.longest();
    int rows = trial(model).mostRows(length, config.steps().memoryBudget(), moments(model));
    rows = Math.min(rows, train.size());
    say("batch size: %d rows of up to %,d tokens fit", rows, length);
    return rows;
  }

  // --- a dry run --------------------------------------------------------------------------------

  private void dryRun(PeftModel model, InstructionData train) {
    BatchSource batches = batches(train, batchSize(model, train));
    long steps = trainer(model, batches).build().totalSteps();
    tell();
    PathGroups layers = new PathGroups();
    for (Adapter.AdaptedLayer layer : model.layerReport(Peft.DEFAULT_ADAPTER)) {
      layers.add(layer.path(), List.of(layer.effect(), layer.reason()));
    }
    for (PathGroups.Row row : layers.rows()) {
      out.printf("%s: %s (%s)%n", row.paths(), row.cells().get(0), row.cells().get(1));
    }
    out.println(model.trainableParameterReport());
    TrialStep.Taken taken;
    long tokens;
    try (Batch batch = batches.epoch(0).next()) {
      tokens = batch.tokens();
      taken = trial(model).run(batch);
    }
    out.printf(
        Locale.ROOT,
        "%,d steps; the first batch: loss=%.4f, %,d tokens in %.2f s%n",
        steps,
        taken.loss(),
        tokens,
        taken.seconds());
    if (taken.peak().isPresent()) {
      out.printf(
          Locale.ROOT,
          "memory: %s at the peak of that batch, and %s for AdamW's moments%n",
          Sizes.format(taken.peak().getAsLong()),
          Sizes.format(moments(model)));
    }
  }

  // --- training ---------------------------------------------------------------------------------

  private TrainerBuilder trainer(PeftModel model, BatchSource batches) {
    TrainConfig.StepPart steps = config.steps();
    TrainConfig.OptimizerPart optimizer = config.optimizer();
    ParameterGroups groups = ParameterGroups.withDecay(optimizer.settings().weightDecay());
    if (config.settings().method().trainsBase()) {
      groups = groups.noDecayForBiasesAndNorms();
    }
    if (optimizer.loraPlusRatio() != 1) {
      groups =
          groups.loraPlus(
              optimizer.loraPlusRatio(),
              optimizer.settings().learningRate(),
              optimizer.loraPlusEmbeddingRate());
    }
    TrainerBuilder trainer =
        Trainer.builder()
            .model(model)
            .loss(loss())
            .batches(batches)
            .optimizer(optimizer.settings())
            .optimizerStorage(storage(optimizer))
            .parameterGroups(groups)
            .schedule(Schedules.of(optimizer))
            .gradientAccumulation(steps.accumulation())
            .recomputation(steps.recomputation())
            .embeddingNoise(steps.neftuneAlpha())
            .seed(steps.seed());
    return steps.maxSteps() > 0 ? trainer.steps(steps.maxSteps()) : trainer.epochs(steps.epochs());
  }

  private OptimizerStorage storage(TrainConfig.OptimizerPart optimizer) {
    OptimizerStorage storage = OptimizerStorage.plain();
    storage = optimizer.eightBit() ? storage.inEightBits() : storage;
    return optimizer.paged() ? storage.pagedIn(config.output().directory()) : storage;
  }

  private void train(
      PretrainedModel base,
      PeftModel model,
      InstructionData train,
      @Nullable InstructionData evaluation) {
    TrainConfig.OutputPart output = config.output();
    Path directory = output.directory();
    if (output.overwrite() && !output.resume()) {
      OutputDirectory.clear(directory);
    }
    TrainerBuilder trainer = trainer(model, batches(train, batchSize(model, train)));
    trainer.checkpoints(
        CheckpointSettings.builder(directory)
            .every(output.save().interval())
            .atEnd(output.save().ever())
            .totalLimit(output.saveLimit())
            .loadBestAtEnd(output.loadBest())
            .build());
    if (evaluation != null && output.evaluate().ever()) {
      trainer.evaluation(evaluation(evaluation));
    }
    if (output.resume()) {
      Path checkpoint = output.checkpoint();
      trainer = checkpoint == null ? trainer.resume() : trainer.resume(checkpoint);
    }
    RunSummary summary = new RunSummary(err::println);
    summary.writes(config.settings().method().trainsBase() ? "model" : "adapter", directory);
    trainer.listener(
        new MetricsFile(directory.resolve(OutputDirectory.METRICS), output.loggingSteps()));
    summary.writes("metrics", directory.resolve(OutputDirectory.METRICS));
    if (output.tensorBoard()) {
      Path events = directory.resolve(OutputDirectory.EVENTS);
      trainer.listener(new TensorBoardWriter(events, output.loggingSteps()));
      summary.writes("TensorBoard", events);
    }
    if (output.plot()) {
      trainer.listener(new LossPlotFile(directory.resolve(OutputDirectory.PLOT)));
      summary.writes("loss", directory.resolve(OutputDirectory.PLOT));
    }
    long steps = trainer.build().totalSteps();
    trainer.listener(TrainingProgress.start(config.settings().methodName(), steps));
    trainer.listener(summary);
    tell();
    TrainingResult result = trainer.build().run();
    save(base, model, directory);
    report(result, directory);
  }

  private EvaluationSettings evaluation(InstructionData data) {
    TrainConfig.OutputPart output = config.output();
    EvaluationSettings.Builder settings =
        EvaluationSettings.builder(batches(data, config.steps().evaluationBatch()))
            .every(output.evaluate().interval())
            .loss(Losses.causalLanguageModel())
            .metric(Metrics.accuracy(Items.NEXT_TOKENS))
            .earlyStopping(output.patience(), output.threshold());
    String best = output.bestMetric();
    if (best != null) {
      String name = best.startsWith("eval_") ? best.substring("eval_".length()) : best;
      Boolean greater = output.greaterIsBetter();
      boolean smaller = name.equals("loss") || name.equals("perplexity");
      settings.metricForBest(name, greater == null ? !smaller : greater);
    }
    return settings.build();
  }

  private void save(PretrainedModel base, PeftModel model, Path directory) {
    if (config.settings().method().trainsBase()) {
      model.mergeAndUnload();
      base.save(directory);
    } else {
      model.save(directory, Peft.DEFAULT_ADAPTER);
    }
  }

  private void report(TrainingResult result, Path directory) {
    List<Double> losses = result.losses();
    StringBuilder line = new StringBuilder();
    line.append(
        String.format(
            Locale.ROOT, "steps=%d loss=%.4f", result.steps(), losses.get(losses.size() - 1)));
    if (!result.evaluations().isEmpty()) {
      Evaluation last = result.evaluations().get(result.evaluations().size() - 1);
      last.values()
          .forEach(
              (name, value) ->
                  line.append(String.format(Locale.ROOT, " eval_%s=%.4f", name, value)));
    }
    out.println(line + " saved=" + directory);
  }

  /** What is said once nothing can be wrong with the input any more. */
  private void say(String format, Object... values) {
    said.add(String.format(Locale.ROOT, format, values));
  }

  private void tell() {
    said.forEach(err::println);
    err.flush();
    said.clear();
  }
}
