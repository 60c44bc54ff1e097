package io.peft4j.examples;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.Shape;
import io.peft4j.TrainableParameter;
import io.peft4j.models.PretrainedModel;
import io.peft4j.torch.Ops;
import io.peft4j.train.Batch;
import io.peft4j.train.BatchSource;
import io.peft4j.train.ClassificationBatches;
import io.peft4j.train.LearningRateSchedule;
import io.peft4j.train.Losses;
import io.peft4j.train.Trainable;
import io.peft4j.train.Trainer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;

/**
 * A linear head on the mean of a frozen encoder's token vectors. The encoder runs once over the
 * texts; the head is trained on what it gave.
 */
final class FrozenHead {
  private static final int EPOCHS = 30;
  private static final int BATCH_SIZE = 128;

  private final NDArray weight;
  private final NDArray bias;

  private FrozenHead(NDArray weight, NDArray bias) {
    this.weight = weight;
    this.bias = bias;
  }

  /** float32 [classes, hidden], owned by the manager it was trained with. */
  NDArray weight() {
    return weight;
  }

  /** float32 [classes], owned by the manager it was trained with. */
  NDArray bias() {
    return bias;
  }

  static FrozenHead train(
      NDManager manager, PretrainedModel encoder, int classes, ClassificationBatches texts) {
    NDArray features = features(manager, encoder, texts);
    FrozenHead head =
        new FrozenHead(
            manager.zeros(new Shape(classes, features.getShape().get(1))),
            manager.zeros(new Shape(classes)));
    head.weight.setRequiresGradient(true);
    head.bias.setRequiresGradient(true);
    int batches = (texts.size() + BATCH_SIZE - 1) / BATCH_SIZE;
    Trainer.builder()
        .model(
            Trainable.of(
                (inputs, mode) -> head.forward(inputs),
                List.of(
                    new TrainableParameter("head", "weight", head.weight),
                    new TrainableParameter("head", "bias", head.bias))))
        .loss(Losses.crossEntropy())
        .batches(shuffled(manager, features, texts))
        .learningRate(1e-2)
        .schedule(LearningRateSchedule.linear(0))
        .steps((long) EPOCHS * batches)
        .build()
        .run();
    head.weight.setRequiresGradient(false);
    head.bias.setRequiresGradient(false);
    return head;
  }

  double accuracy(NDManager manager, PretrainedModel encoder, ClassificationBatches texts) {
    try (NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      NDArray logits = forward(new NDList(features(manager, encoder, texts))).head();
      long[] likeliest = logits.argMax(1).toLongArray();
      return texts.accuracy(
          IntStream.range(0, likeliest.length).map(i -> (int) likeliest[i]).toArray());
    }
  }

  private NDList forward(NDList inputs) {
    return new NDList(Ops.linear(inputs.head(), weight, bias));
  }

  /** The mean token vector of each text, float32 [texts, hidden]. */
  private static NDArray features(
      NDManager manager, PretrainedModel encoder, ClassificationBatches texts) {
    float[][] rows = new float[texts.size()][];
    for (int[] chunk : texts.batchesByLength()) {
      try (Batch batch = texts.batch(chunk);
          NDScope scope = new NDScope()) {
        scope.suppressNotUsedWarning();
        NDArray hidden = encoder.forward(batch.inputs()).head();
        NDArray mask = batch.inputs().get(1).toType(hidden.getDataType(), false).expandDims(2);
        NDArray means = hidden.mul(mask).sum(new int[] {1}).div(mask.sum(new int[] {1}));
        float[] values = means.toFloatArray();
        int size = values.length / chunk.length;
        for (int i = 0; i < chunk.length; i++) {
          rows[chunk[i]] = java.util.Arrays.copyOfRange(values, i * size, (i + 1) * size);
        }
      }
    }
    return manager.create(rows);
  }

  private static BatchSource shuffled(
      NDManager manager, NDArray features, ClassificationBatches texts) {
    return epoch -> {
      List<Integer> order = new ArrayList<>(IntStream.range(0, texts.size()).boxed().toList());
      Collections.shuffle(order, new Random(epoch));
      return IntStream.iterate(0, start -> start < order.size(), start -> start + BATCH_SIZE)
          .mapToObj(start -> order.subList(start, Math.min(start + BATCH_SIZE, order.size())))
          .map(
              rows -> {
                NDManager own = manager.newSubManager();
                NDArray index = own.create(rows.stream().mapToLong(i -> i).toArray());
                NDArray labels = own.create(rows.stream().mapToLong(texts::label).toArray());
                NDArray chosen = features.get(index);
                chosen.attach(own);
                return new Batch(own, new NDList(chosen), new NDList(labels));
              })
          .iterator();
    };
  }
}
