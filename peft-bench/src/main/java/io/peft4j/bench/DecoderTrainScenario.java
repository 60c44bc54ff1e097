package io.peft4j.bench;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.Shape;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.nn.TrainingOptions;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Precision;
import io.peft4j.train.Batch;
import io.peft4j.train.BatchSource;
import io.peft4j.train.Losses;
import io.peft4j.train.Trainable;
import io.peft4j.train.Trainer;
import java.util.ArrayList;
import java.util.List;

/**
 * Training steps of a Llama shape with LoRA on all linear layers, of rank 8 if no other is given,
 * every token a label: {@code train-SHAPE-ROWSxLENGTH[rRANK]-TYPE[-recomputed|-recorded]}, where
 * the type is {@code fp32} or {@code fastest}. The base is a checkpoint in bfloat16; a recorded
 * step is the general path with all logits.
 */
final class DecoderTrainScenario {
  private static final int WARMUPS = 1;
  private static final int STEPS = 4;
  private static final int SIDE = 2048;

  private DecoderTrainScenario() {}

  static void run(Settings settings, String scenario) {
    String[] parts = scenario.split("-");
    BaseShape shape = parts[1].equals("1b") ? BaseShape.LLAMA_1B : BaseShape.LLAMA;
    String[] sizes = parts[2].split("[xr]");
    int rows = Integer.parseInt(sizes[0]);
    int length = Integer.parseInt(sizes[1]);
    int rank = sizes.length > 2 ? Integer.parseInt(sizes[2]) : 8;
    Precision precision = parts[3].equals("fp32") ? Precision.FLOAT32 : Precision.fastest();
    String way = parts.length > 4 ? parts[4] : "";
    String prefix = scenario.replaceFirst("-", ".").replace('-', '.') + ".";
    LoadOptions options = LoadOptions.builder().precision(precision).build();
    List<Long> ends = new ArrayList<>();
    Figures figures = new Figures(settings.output());
    double parameters;
    try (PretrainedModel base =
            PretrainedModel.load(settings.models().resolve("generate-" + parts[1]), options);
        PeftModel model = Peft.wrap(base, shape.loraOnAll(rank))) {
      parameters = base.layout().parameters().values().stream().mapToDouble(Shape::size).sum();
      Trainable trained =
          way.equals("recorded")
              ? Trainable.of(model::forward, model.trainableParameters())
              : Trainable.of(model, new TrainingOptions(way.equals("recomputed"), 0));
      Trainer.builder()
          .model(trained)
          .loss(Losses.causalLanguageModel())
          .batches(BatchSource.of(List.of(() -> batch(shape, settings, rows, length))))
          .learningRate(1e-4)
          .steps(1L + WARMUPS + STEPS)
          .listener(step -> ends.add(System.nanoTime()))
          .build()
          .run();
    }
    double[] seconds = new double[STEPS];
    for (int i = 0; i < STEPS; i++) {
      seconds[i] = (ends.get(WARMUPS + i + 1) - ends.get(WARMUPS + i)) / 1e9;
    }
    double step = Times.median(seconds);
    figures.add(prefix + "tokens_per_second", rows * length / step);
    figures.addPeakMemory(prefix + "peak.mib");
    // Each weight is met forward and backward; an untied embedding is only looked up.
    double looked = shape == BaseShape.LLAMA_1B ? 32000.0 * 2048 : 0;
    double floor = 4 * rows * length * (parameters - looked) / rate(precision);
    figures.add(prefix + "floor.share", floor / step);
  }

  private static Batch batch(BaseShape shape, Settings settings, int rows, int length) {
    NDManager manager = NDManager.newBaseManager("PyTorch");
    NDList inputs = shape.inputs(manager, settings.tiny(), rows, length);
    return new Batch(manager, inputs, new NDList(inputs.head().duplicate()), (long) rows * length);
  }

  /** Operations a second of large products. */
  private static double rate(Precision precision) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      NDArray x = manager.randomNormal(new Shape(SIDE, SIDE));
      NDArray weight = precision == Precision.BFLOAT16 ? Ops.toBfloat16(x) : x;
      double best = Double.POSITIVE_INFINITY;
      for (int i = 0; i < 6; i++) {
        long begin = System.nanoTime();
        NDArray product =
            precision == Precision.BFLOAT16
                ? Ops.linearBfloat16(x, weight, null)
                : Ops.linear(x, weight, null);
        best = Math.min(best, (System.nanoTime() - begin) / 1e9);
        product.close();
      }
      return 2.0 * SIDE * SIDE * SIDE / best;
    }
  }
}
