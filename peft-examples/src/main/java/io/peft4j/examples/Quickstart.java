package io.peft4j.examples;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.TaskType;
import io.peft4j.examples.wordnet.Split;
import io.peft4j.examples.wordnet.WordNetGlosses;
import io.peft4j.lora.LoraConfig;
import io.peft4j.models.PretrainedModel;
import io.peft4j.state.PeftDirectory;
import io.peft4j.train.Batch;
import io.peft4j.train.ClassificationBatches;
import io.peft4j.train.LearningRateSchedule;
import io.peft4j.train.LossPlot;
import io.peft4j.train.Losses;
import io.peft4j.train.Trainer;
import io.peft4j.train.TrainingProgress;
import io.peft4j.train.TrainingResult;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.Map;

/**
 * The quickstart: fine-tunes all-MiniLM-L6-v2 with LoRA to tell from a WordNet gloss what kind of
 * thing it describes, and shows that the adapter can be saved, loaded and merged.
 *
 * <p>Three accuracies on glosses of synsets that training never saw: of a head that knows nothing,
 * of a head trained on the frozen encoder (the honest baseline), and of LoRA with its own head,
 * which begins where that one ended.
 *
 * <p>Takes one optional argument, the directory for the adapter and the picture of the loss.
 */
public final class Quickstart {
  private static final int TRAIN_PER_CLASS = 600;
  private static final int TEST_PER_CLASS = 150;
  private static final int BATCH_SIZE = 32;
  private static final double NEEDED_GAIN = 0.02;
  private static final String HEAD = PeftDirectory.PREFIX + "classifier.";

  private Quickstart() {}

  /**
   * Runs the quickstart.
   *
   * @param arguments the output directory; {@code target/quickstart} if there is none
   */
  public static void main(String[] arguments) {
    Path output = Path.of(arguments.length == 0 ? "target/quickstart" : arguments[0]);
    System.exit(run(output) ? 0 : 1);
  }

  /** Runs it and tells whether everything was as it must be. */
  static boolean run(Path output) {
    say("Reading WordNet and MiniLM ...");
    Split glosses = WordNetGlosses.load().split(TRAIN_PER_CLASS, TEST_PER_CLASS, 1);
    ClassificationBatches train = MiniLm.tokenize(glosses.train(), BATCH_SIZE);
    ClassificationBatches test = MiniLm.tokenize(glosses.test(), BATCH_SIZE);
    say(
        "%,d glosses to train on, %,d to test, classes %s",
        train.size(), test.size(), glosses.labels());

    try (PretrainedModel base = MiniLm.classifier(glosses.labels());
        PeftModel model =
            Peft.wrap(
                base,
                LoraConfig.builder()
                    .rank(8)
                    .alpha(16)
                    .targetModules("query", "value")
                    .taskType(TaskType.SEQ_CLS)
                    .build());
        NDManager manager = NDManager.newBaseManager("PyTorch")) {
      say("%s", model.trainableParameterReport());
      double untrained = test.accuracy(model::forward);

      say("Training a head on the frozen encoder ...");
      FrozenHead head;
      double frozen;
      try (PretrainedModel encoder = MiniLm.encoder()) {
        head = FrozenHead.train(manager, encoder, glosses.labels().size(), train);
        frozen = head.accuracy(manager, encoder, test);
      }
      Map<String, NDArray> state = model.stateDict(Peft.DEFAULT_ADAPTER, manager);
      state.put(HEAD + "weight", head.weight());
      state.put(HEAD + "bias", head.bias());
      model.loadStateDict(Peft.DEFAULT_ADAPTER, state);

      TrainingResult result = train(model, train);
      float[][] logits = logits(model, test);
      double lora = test.accuracy(predictions(logits));

      Path adapter = output.resolve("adapter");
      model.save(adapter);
      Path plot = output.resolve("loss.png");
      LossPlot.builder()
          .title("LoRA on WordNet glosses")
          .run("training loss", result.losses().stream().mapToDouble(d -> d).toArray())
          .build()
          .write(plot);
      say("Saved %s and %s", adapter, plot);

      boolean reload;
      boolean merge;
      try (PretrainedModel fresh = MiniLm.classifier(glosses.labels());
          PeftModel loaded = PeftModel.load(fresh, adapter)) {
        float[][] again = logits(loaded, test);
        reload = Arrays.equals(predictions(again), predictions(logits));
        loaded.merge();
        merge = largestDifference(logits(loaded, test), logits) < 1e-4;
      }
      System.out.printf(
          Locale.ROOT,
          "untrained=%.3f frozen=%.3f lora=%.3f reload=%s merge=%s%n",
          untrained,
          frozen,
          lora,
          reload ? "ok" : "FAILED",
          merge ? "ok" : "FAILED");
      if (lora < frozen + NEEDED_GAIN) {
        System.err.printf(
            Locale.ROOT, "LoRA must be at least %.2f better than the frozen base%n", NEEDED_GAIN);
      }
      return reload && merge && lora >= frozen + NEEDED_GAIN;
    }
  }

  private static TrainingResult train(PeftModel model, ClassificationBatches batches) {
    int steps = batches.batchesPerEpoch().orElseThrow();
    try (TrainingProgress progress = TrainingProgress.start("LoRA", steps)) {
      return Trainer.builder()
          .model(model)
          .loss(Losses.crossEntropy())
          .batches(batches)
          .learningRate(2e-3)
          .schedule(LearningRateSchedule.linear(steps / 20))
          .epochs(1)
          .seed(1)
          .listener(step -> progress.step(step.loss(), step.learningRate()))
          .build()
          .run();
    }
  }

  /** The logits of all texts in their order. */
  private static float[][] logits(PeftModel model, ClassificationBatches texts) {
    float[][] all = new float[texts.size()][];
    for (int[] rows : texts.batchesByLength()) {
      try (Batch batch = texts.batch(rows);
          NDScope scope = new NDScope()) {
        scope.suppressNotUsedWarning();
        float[] values = model.forward(batch.inputs()).head().toFloatArray();
        int classes = values.length / rows.length;
        for (int i = 0; i < rows.length; i++) {
          all[rows[i]] = Arrays.copyOfRange(values, i * classes, (i + 1) * classes);
        }
      }
    }
    return all;
  }

  private static int[] predictions(float[][] logits) {
    int[] classes = new int[logits.length];
    for (int row = 0; row < logits.length; row++) {
      for (int i = 1; i < logits[row].length; i++) {
        classes[row] = logits[row][i] > logits[row][classes[row]] ? i : classes[row];
      }
    }
    return classes;
  }

  private static double largestDifference(float[][] first, float[][] second) {
    double largest = 0;
    for (int row = 0; row < first.length; row++) {
      for (int i = 0; i < first[row].length; i++) {
        largest = Math.max(largest, Math.abs(first[row][i] - second[row][i]));
      }
    }
    return largest;
  }

  private static void say(String format, Object... values) {
    System.out.printf(Locale.ROOT, format + "%n", values);
  }
}
