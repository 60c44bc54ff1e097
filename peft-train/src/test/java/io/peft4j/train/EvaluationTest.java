package io.peft4j.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.TrainableParameter;
import io.peft4j.train.metric.Metric;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Evaluations, early stopping, groups of parameters, and what stops a run. */
final class EvaluationTest {
  private NDManager manager;

  @BeforeEach
  void open() {
    manager = NDManager.newBaseManager("PyTorch");
  }

  @AfterEach
  void close() {
    manager.close();
  }

  private static TrainerBuilder trainer(Trainable model) {
    return Trainer.builder()
        .model(model)
        .loss(Losses.crossEntropy())
        .batches(BatchSource.shuffled(12, 4, 3, ResumableRun::batch))
        .learningRate(0.02);
  }

  /** Says what it is told to, one value an evaluation. */
  private static Metric saying(double... values) {
    Iterator<Double> next = Arrays.stream(values).iterator();
    return new Metric() {
      @Override
      public void begin() {}

      @Override
      public void add(NDList outputs, NDList labels) {}

      @Override
      public Map<String, Double> result() {
        return Map.of("score", next.next());
      }
    };
  }

  private TrainingResult stopping(int patience, double threshold, double... scores) {
    return trainer(new Network(manager, 1))
        .steps(scores.length)
        .evaluation(
            EvaluationSettings.builder(BatchSource.shuffled(6, 4, 9, ResumableRun::batch))
                .every(Interval.steps(1))
                .metric(saying(scores))
                .metricForBest("score", true)
                .earlyStopping(patience, threshold)
                .build())
        .build()
        .run();
  }

  @Test
  void stopsEarlyAsTransformersDoes() {
    assertEquals(4, stopping(2, 0, 1, 2, 2, 1.5, 9, 9).steps());
    // Better by no more than the threshold counts as no better, yet becomes the best.
    assertEquals(3, stopping(2, 0.5, 1, 1.4, 1.8, 9, 9).steps());
    assertEquals(4, stopping(2, 0.3, 1, 1.4, 1.5, 1.6, 9).steps());
    assertEquals(5, stopping(0, 0, 5, 4, 3, 2, 1).steps());
    List<Boolean> best =
        stopping(3, 0.5, 1, 1.4, Double.NaN, 1.4).evaluations().stream()
            .map(Evaluation::best)
            .toList();
    assertEquals(List.of(true, true, false, false), best);
  }

  @Test
  void measuresTheMeanOverAllRows() {
    Network network = new Network(manager, 1);
    network.dropout = 0.5;
    List<Evaluation> seen = new ArrayList<>();
    for (int size : new int[] {10, 4}) {
      trainer(network)
          .learningRate(0)
          .steps(1)
          .evaluation(
              EvaluationSettings.builder(BatchSource.shuffled(10, size, 9, ResumableRun::batch))
                  .every(Interval.never())
                  .metric(new ResumableRun.RightAnswers())
                  .build())
          .listener(
              new TrainingListener() {
                @Override
                public void onStep(TrainingStep step) {}

                @Override
                public void onEvaluation(Evaluation evaluation) {
                  seen.add(evaluation);
                }
              })
          .build()
          .run();
    }
    assertEquals(2, seen.size());
    assertEquals(10, seen.get(0).items());
    assertEquals(seen.get(0).loss(), seen.get(1).loss(), 1e-6);
    assertEquals(seen.get(0).metrics(), seen.get(1).metrics());
    assertEquals(Math.exp(seen.get(0).loss()), seen.get(0).values().get("perplexity"));
  }

  @Test
  void namesTheBatchThatIsNotANumber() {
    Supplier<Batch> bad =
        () -> {
          NDManager own = NDManager.newBaseManager("PyTorch");
          NDArray features = own.full(new Shape(2, Network.FEATURES), Float.NaN);
          NDArray labels = own.create(new long[] {0, 1});
          return new Batch(own, new NDList(features), new NDList(labels), 0, "data.jsonl:7-8");
        };
    List<Throwable> told = new ArrayList<>();
    Trainer trainer =
        trainer(new Network(manager, 1))
            .batches(BatchSource.of(List.of(() -> ResumableRun.batch(1, 2), bad)))
            .gradientAccumulation(2)
            .listener(
                new TrainingListener() {
                  @Override
                  public void onStep(TrainingStep step) {}

                  @Override
                  public void onFailure(Throwable failure) {
                    told.add(failure);
                  }
                })
            .build();
    DivergenceException stopped = assertThrows(DivergenceException.class, trainer::run);
    assertTrue(
        stopped.getMessage().contains("batch 1 of epoch 0 (data.jsonl:7-8)"), stopped.getMessage());
    assertEquals(List.of(stopped), told);
  }

  /** The product of two factors, as LoRA's: one of them may start at 0. */
  private static Trainable product(TrainableParameter... more) {
    TrainableParameter first = more[0];
    TrainableParameter second = more[1];
    return Trainable.of(
        (inputs, mode) ->
            new NDList(inputs.head().mul(first.array()).mul(second.array()).add(inputs.head())),
        List.of(more));
  }

  private TrainableParameter parameter(String adapter, String name, float value) {
    NDArray array = manager.create(new float[] {value, value, value, value, value, value});
    array.setRequiresGradient(true);
    return new TrainableParameter(adapter, name, array);
  }

  @Test
  void namesWhatGradientsDoNotReach() {
    TrainableParameter a = parameter("one", "lora_A", 0.5f);
    // B at 0: the first gradient of A is 0, and that is right.
    assertEquals(
        3,
        trainer(product(a, parameter("one", "lora_B", 0))).reachCheck(true).build().run().steps());
    TrainableParameter apart = parameter("two", "apart", 1);
    Trainable unreached = product(a, parameter("one", "lora_B", 0), apart);
    AdapterStateException refused =
        assertThrows(
            AdapterStateException.class, () -> trainer(unreached).reachCheck(true).build().run());
    assertTrue(refused.getMessage().contains("two.apart"), refused.getMessage());
    assertTrue(refused.getMessage().contains("not connected"), refused.getMessage());
    assertFalse(refused.getMessage().contains("lora_A"), refused.getMessage());
    // Both at 0: connected, and never moved.
    Trainable dead = product(parameter("one", "lora_A", 0), parameter("one", "lora_B", 0));
    AdapterStateException unmoved =
        assertThrows(
            AdapterStateException.class, () -> trainer(dead).reachCheck(true).build().run());
    assertTrue(unmoved.getMessage().contains("did not move"), unmoved.getMessage());
    assertEquals(3, trainer(unreached).build().run().steps());
  }

  @Test
  void trainsAdaptersJointlyEachAtItsOwnRate() {
    TrainableParameter slow = parameter("slow", "lora_A", 0.5f);
    TrainableParameter fast = parameter("fast", "lora_A", 0.5f);
    List<TrainingStep> steps = new ArrayList<>();
    trainer(product(slow, fast))
        .learningRate(1e-3)
        .parameterGroups(ParameterGroups.withDecay(0).adapter("fast", 10))
        .steps(1)
        .listener(steps::add)
        .build()
        .run();
    assertEquals(1e-3, Math.abs(slow.array().toFloatArray()[0] - 0.5), 1e-5);
    assertEquals(1e-2, Math.abs(fast.array().toFloatArray()[0] - 0.5), 1e-4);
    Map<String, Double> norms = steps.get(0).adapterNorms();
    assertEquals(
        steps.get(0).gradientNorm(), Math.hypot(norms.get("slow"), norms.get("fast")), 1e-6);
  }

  @Test
  void refusesRulesThatFitNothingOrTwice() {
    List<TrainableParameter> all =
        List.of(parameter("one", "q.lora_A", 1), parameter("one", "q.bias", 1));
    ParameterGroups decayed = ParameterGroups.withDecay(0.1).noDecayForBiasesAndNorms();
    assertEquals(
        List.of(0.1, 0.0), decayed.apply(all).stream().map(ParameterGroup::weightDecay).toList());
    Stream.of(
            decayed.adapter("two", 2),
            decayed.matching("k_proj", 2),
            decayed.matching("lora", 2).matching("q\\.", 3),
            decayed.adapter("one", 2).adapter("one", 3))
        .forEach(wrong -> assertThrows(InvalidConfigException.class, () -> wrong.apply(all)));
    assertThrows(InvalidConfigException.class, () -> decayed.matching("(", 2));
    assertThrows(InvalidConfigException.class, () -> decayed.adapter("one", 0));
  }
}
