package io.peft4j.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.peft4j.train.metric.Metric;
import java.nio.file.Path;
import java.util.Map;
import java.util.Random;

/**
 * A run with everything that could come apart when it is interrupted: dropout, accumulation,
 * shuffled data, several epochs, a schedule, evaluations. Started by itself it resumes; a test
 * kills it.
 */
final class ResumableRun {
  static final int STEPS = 30;

  private ResumableRun() {}

  public static void main(String[] arguments) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      builder(new Network(manager, 1), Path.of(arguments[0]), 7)
          .resume()
          .listener(step -> System.out.println("step " + step.step()))
          .build()
          .run();
    }
  }

  /** Saves every step, so that most of its time goes into that. */
  static TrainerBuilder builder(Network network, Path directory, long seed) {
    network.dropout = 0.3;
    return Trainer.builder()
        .model(network)
        .loss(Losses.crossEntropy())
        .batches(BatchSource.shuffled(42, 4, 3, ResumableRun::batch))
        .learningRate(0.02)
        .weightDecay(0.1)
        .schedule(LearningRateSchedule.cosine(4))
        .gradientAccumulation(2)
        .epochs(5)
        .seed(seed)
        .evaluation(
            EvaluationSettings.builder(BatchSource.shuffled(20, 6, 9, ResumableRun::batch))
                .every(Interval.steps(4))
                .metric(new RightAnswers())
                .metricForBest("right", true)
                .build())
        .checkpoints(
            CheckpointSettings.builder(directory)
                .every(Interval.steps(1))
                .totalLimit(3)
                .loadBestAtEnd(true)
                .build());
  }

  /** Points of one of three classes, with some noise in them. */
  static Batch batch(int... rows) {
    NDManager own = NDManager.newBaseManager("PyTorch");
    float[] features = new float[rows.length * Network.FEATURES];
    long[] labels = new long[rows.length];
    for (int i = 0; i < rows.length; i++) {
      Random random = new Random(rows[i]);
      labels[i] = random.nextInt(Network.CLASSES);
      for (int j = 0; j < Network.FEATURES; j++) {
        features[i * Network.FEATURES + j] =
            (float) random.nextGaussian() + (j == labels[i] ? 1 : 0);
      }
    }
    NDArray inputs = own.create(features, new Shape(rows.length, Network.FEATURES));
    return new Batch(own, new NDList(inputs), new NDList(own.create(labels)));
  }

  /** The share of rows whose class is the likeliest. */
  static final class RightAnswers implements Metric {
    private int right;
    private int all;

    @Override
    public void begin() {
      right = 0;
      all = 0;
    }

    @Override
    public void add(NDList outputs, NDList labels) {
      long[] guessed = outputs.head().argMax(1).toLongArray();
      long[] expected = labels.head().toLongArray();
      for (int i = 0; i < guessed.length; i++) {
        right += guessed[i] == expected[i] ? 1 : 0;
        all++;
      }
    }

    @Override
    public Map<String, Double> result() {
      return Map.of("right", (double) right / all);
    }
  }
}
