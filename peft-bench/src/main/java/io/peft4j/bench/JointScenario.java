package io.peft4j.bench;

import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import io.peft4j.AdapterSet;
import io.peft4j.ForwardMode;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.lora.LoraConfig;
import io.peft4j.models.PretrainedModel;
import io.peft4j.train.Batch;
import io.peft4j.train.Losses;
import io.peft4j.train.Trainable;
import java.util.List;

/**
 * Gradients of two LoRA adapters of BERT-base: in parallel, where their deltas add up in one pass,
 * in series, where the logits of two passes do, row by row, where each has half of the batch, and
 * those of one adapter alone.
 */
final class JointScenario {
  private static final int ROWS = 8;
  private static final int ROUNDS = 7;

  private JointScenario() {}

  static void run(Settings settings) {
    Figures figures = new Figures(settings.output());
    LoraConfig config =
        LoraConfig.builder()
            .rank(8)
            .alpha(16)
            .targetModules(BaseShape.BERT.queryAndValue())
            .build();
    NDManager manager = NDManager.newBaseManager("PyTorch");
    try (PretrainedModel base = BaseShape.BERT.random(settings.tiny());
        PeftModel model = Peft.open(base);
        Batch batch =
            new Batch(
                manager,
                BaseShape.BERT.inputs(manager, settings.tiny(), ROWS, 64),
                BaseShape.BERT.labels(manager, ROWS))) {
      model.addAdapter("a", config);
      model.addAdapter("b", config);
      model.trainAdapters("a", "b");
      Trainable series = Trainable.series(model, List.of(AdapterSet.of("a"), AdapterSet.of("b")));
      Batch mixed = batch.withAdapters(List.of("a", "a", "a", "a", "b", "b", "b", "b"));
      Times times =
          new InTurns()
              .task("one", () -> step(active(model, "a"), batch))
              .task("parallel", () -> step(active(model, "a", "b"), batch))
              .task("series", () -> step(series, batch))
              .task("rows", () -> step(Trainable.of(model), mixed))
              .run(1, ROUNDS);
      figures.add("joint.one.ms", times.milliseconds("one"));
      for (String task : List.of("parallel", "series", "rows")) {
        figures.add("joint." + task + ".to_one.ratio", times.ratio(task, "one"));
      }
      figures.add("joint.series.to_parallel.ratio", times.ratio("series", "parallel"));
    }
  }

  private static Trainable active(PeftModel model, String... names) {
    model.setActiveAdapters(names);
    return Trainable.of(model);
  }

  private static void step(Trainable model, Batch batch) {
    try (NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      model.accumulateGradients(batch, Losses.crossEntropy(), ForwardMode.TRAINING, 1);
    }
  }
}
