package io.peft4j.bench;

import ai.djl.ndarray.NDManager;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import io.peft4j.torch.Precision;
import io.peft4j.train.Batch;
import io.peft4j.train.BatchSource;
import io.peft4j.train.Losses;
import io.peft4j.train.Trainer;
import java.util.ArrayList;
import java.util.List;

/**
 * Training steps of BERT-base with LoRA of rank 8 on query and value and a new classifier: forward
 * pass with dropout, backward pass, clipping, AdamW.
 */
final class TrainScenario {
  private static final int WARMUPS = 2;
  private static final int STEPS = 8;

  private TrainScenario() {}

  static void run(Settings settings, int rows, int length, boolean fastest) {
    Figures figures = new Figures(settings.output());
    String prefix = "train." + rows + "x" + length + (fastest ? ".fastest." : ".fp32.");
    List<Long> ends = new ArrayList<>();
    Precision precision = fastest ? Precision.fastest() : Precision.FLOAT32;
    try (PretrainedModel base = BaseShape.BERT.random(settings.tiny(), precision);
        PeftModel model = Peft.wrap(base, BaseShape.BERT.lora())) {
      Trainer.builder()
          .model(model)
          .loss(Losses.crossEntropy())
          .batches(BatchSource.of(List.of(() -> batch(settings, rows, length))))
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
    figures.add(prefix + "samples_per_second", rows / Times.median(seconds));
    figures.addPeakMemory(prefix + "peak.mib");
  }

  private static Batch batch(Settings settings, int rows, int length) {
    NDManager manager = NDManager.newBaseManager("PyTorch");
    return new Batch(
        manager,
        BaseShape.BERT.inputs(manager, settings.tiny(), rows, length),
        BaseShape.BERT.labels(manager, rows));
  }
}
