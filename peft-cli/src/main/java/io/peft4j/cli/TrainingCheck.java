package io.peft4j.cli;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterSet;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import io.peft4j.state.TensorInfo;
import io.peft4j.train.Batch;
import io.peft4j.train.Loss;
import io.peft4j.train.LossRun;
import io.peft4j.train.Losses;
import io.peft4j.train.OptimizerSettings;
import io.peft4j.train.Trainable;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/**
 * Trains as another implementation has trained, and compares the losses: AdamW at a constant rate,
 * one step a batch, in order, without dropout.
 */
final class TrainingCheck {
  private static final String OPTION = "--train";
  private static final List<String> LABELS = List.of("labels");
  private static final List<String> ANSWERS = List.of("start_positions", "end_positions");

  private final OptimizerSettings settings;
  private final IoFile file;
  private final String expect;
  private final List<String> labels;
  private final int steps;

  private TrainingCheck(
      OptimizerSettings settings, IoFile file, String expect, List<String> labels, int steps) {
    this.settings = settings;
    this.file = file;
    this.expect = expect;
    this.labels = labels;
    this.steps = steps;
  }

  static TrainingCheck parse(String text, IoFile file, TensorInfo expected) {
    OptimizerSettings.Builder settings = OptimizerSettings.builder();
    Map<String, String> pairs = Pairs.parse(OPTION, text);
    if (!pairs.containsKey("lr")) {
      throw new InvalidConfigException(OPTION + " needs a learning rate: lr=0.01");
    }
    double beta1 = 0.9;
    double beta2 = 0.999;
    for (Map.Entry<String, String> pair : pairs.entrySet()) {
      String key = pair.getKey();
      double value =
          key.equals("max_grad_norm") && pair.getValue().equals("inf")
              ? Double.POSITIVE_INFINITY
              : Pairs.number(OPTION, key, pair.getValue());
      switch (key) {
        case "lr" -> settings.learningRate(value);
        case "weight_decay" -> settings.weightDecay(value);
        case "max_grad_norm" -> settings.maxGradientNorm(value);
        case "eps" -> settings.epsilon(value);
        case "beta1" -> beta1 = value;
        case "beta2" -> beta2 = value;
        default ->
            throw new InvalidConfigException(
                OPTION
                    + " takes lr, weight_decay, max_grad_norm, beta1, beta2 and eps; given was '"
                    + key
                    + "'");
      }
    }
    settings.betas(beta1, beta2);
    Shape ids = file.check(IoFile.IDS).shape();
    List<String> names = file.has(ANSWERS.get(0)) ? ANSWERS : LABELS;
    for (String name : names) {
      Shape labels = file.check(name).shape();
      if (ids.dimension() != 3
          || labels.dimension() < 2
          || labels.get(0) != ids.get(0)
          || !expected.shape().equals(new Shape(ids.get(0)))) {
        throw new MalformedFileException(
            OPTION
                + " needs input_ids [steps, batch, length], labels [steps, batch] or [steps, batch,"
                + " length] (for question answering start_positions and end_positions [steps,"
                + " batch]) and losses [steps]; given were "
                + ids
                + ", "
                + labels
                + " and "
                + expected.shape());
      }
    }
    int steps = Math.toIntExact(ids.get(0));
    return new TrainingCheck(settings.build(), file, expected.name(), names, steps);
  }

  /** The loss of the model's task, as its outputs tell it. */
  private Loss loss(PretrainedModel base) {
    if (base.layout().outputLayer().isPresent()) {
      return Losses.causalLanguageModel();
    }
    if (base.layout().heads().isEmpty()) {
      throw new InvalidConfigException(
          OPTION + " needs a model with a head; this is a " + base.architecture());
    }
    Shape[] outputs = base.getOutputShapes(new Shape[] {new Shape(1, 1)});
    if ((outputs.length == 2) != labels.equals(ANSWERS)) {
      throw new MalformedFileException(
          OPTION
              + ": a "
              + base.architecture()
              + " is trained with "
              + String.join(" and ", outputs.length == 2 ? ANSWERS : LABELS)
              + "; given were "
              + String.join(" and ", labels));
    }
    if (outputs.length == 2) {
      return Losses.questionAnswering();
    }
    return outputs[0].dimension() == 3 ? Losses.tokenClassification() : Losses.crossEntropy();
  }

  Comparison run(PretrainedModel base, PeftModel model, AdapterSet acting) {
    Loss loss = loss(base);
    model.setActiveAdapters(acting);
    model.trainAdapters(acting.names().toArray(String[]::new));
    try (NDManager manager = NDManager.newBaseManager(base.device(), "PyTorch")) {
      NDList inputs = file.inputs(manager);
      NDList expected = new NDList();
      for (String name : labels) {
        expected.add(file.integers(manager, name).toType(DataType.INT64, false));
      }
      List<Supplier<Batch>> batches = new ArrayList<>();
      for (int step = 0; step < steps; step++) {
        batches.add(batch(manager, inputs, expected, step));
      }
      List<Double> losses = LossRun.of(Trainable.of(model), batches, loss, settings).losses();
      float[] computed = new float[steps];
      for (int step = 0; step < steps; step++) {
        computed[step] = losses.get(step).floatValue();
      }
      return Comparison.of(computed, file.floats(manager, expect), index -> true);
    }
  }

  private static Supplier<Batch> batch(NDManager manager, NDList inputs, NDList labels, int step) {
    return () -> {
      NDManager own = manager.newSubManager();
      return new Batch(own, at(step, inputs, own), at(step, labels, own));
    };
  }

  private static NDList at(int step, NDList arrays, NDManager owner) {
    NDList parts = new NDList();
    for (NDArray array : arrays) {
      NDArray part = array.get(step);
      part.setName(array.getName());
      part.attach(owner);
      parts.add(part);
    }
    return parts;
  }
}
