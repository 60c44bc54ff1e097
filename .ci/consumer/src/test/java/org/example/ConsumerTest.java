package org.example;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.Device;
import ai.djl.Model;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.Activation;
import ai.djl.nn.Block;
import ai.djl.nn.SequentialBlock;
import ai.djl.nn.core.Linear;
import ai.djl.training.DefaultTrainingConfig;
import ai.djl.training.GradientCollector;
import ai.djl.training.ParameterStore;
import ai.djl.training.Trainer;
import ai.djl.training.loss.Loss;
import ai.djl.training.optimizer.Optimizer;
import ai.djl.training.tracker.Tracker;
import io.peft4j.InvalidConfigException;
import io.peft4j.Peft;
import io.peft4j.PeftConfig;
import io.peft4j.PeftModel;
import io.peft4j.lora.LoraConfig;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.example.scaling.ScalingConfig;
import org.example.scaling.ScalingMethod;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a project does that has peft4j as a dependency: a DJL network and DJL's own trainer. */
final class ConsumerTest {
  private static final int ROWS = 32;

  private NDManager manager;
  private Block network;
  private NDList inputs;

  @BeforeEach
  void open() {
    manager = NDManager.newBaseManager(Device.cpu(), "PyTorch");
    network =
        new SequentialBlock()
            .add(Linear.builder().setUnits(16).build())
            .add(Activation::relu)
            .add(Linear.builder().setUnits(4).build());
    network.initialize(manager, DataType.FLOAT32, new Shape(ROWS, 8));
    inputs = new NDList(manager.randomNormal(new Shape(ROWS, 8)));
  }

  @AfterEach
  void close() {
    manager.close();
  }

  @Test
  void loraTrainsSavesLoadsAndMerges(@TempDir Path directory) {
    roundTrip(
        LoraConfig.builder().rank(4).alpha(8).targetModules("01Linear", "03Linear").build(),
        directory);
  }

  @Test
  void aMethodOfOnesOwnDoesTheSame(@TempDir Path directory) {
    String place =
        ScalingMethod.class.getProtectionDomain().getCodeSource().getLocation().getPath();
    assertTrue(place.endsWith(".jar"), place);
    roundTrip(new ScalingConfig(List.of("01Linear", "03Linear")), directory);
  }

  private void roundTrip(PeftConfig config, Path directory) {
    float[] base = plain();
    float[] trained;
    try (PeftModel model = Peft.wrap(network, config)) {
      assertArrayEquals(base, output(model), 1e-6f);
      float[] losses = train(model);
      assertTrue(losses[1] < 0.8 * losses[0], Arrays.toString(losses));
      trained = output(model);
      assertArrayEquals(base, model.with().forward(inputs).head().toFloatArray());
      model.save(directory);
    }
    assertArrayEquals(base, plain());
    try (PeftModel model = PeftModel.load(network, directory)) {
      assertEquals(List.of("01Linear", "03Linear"), paths(model));
      assertArrayEquals(trained, output(model), 1e-6f);
      model.merge();
      assertArrayEquals(trained, output(model), 1e-5f);
      model.unmerge();
      assertSame(network, model.mergeAndUnload());
    }
    assertArrayEquals(trained, plain(), 1e-5f);
    assertFalse(Arrays.equals(base, plain()));
  }

  private static List<String> paths(PeftModel model) {
    return model.layerReport(Peft.DEFAULT_ADAPTER).stream().map(layer -> layer.path()).toList();
  }

  private float[] output(PeftModel model) {
    return model.forward(inputs).head().toFloatArray();
  }

  private float[] plain() {
    return network.forward(new ParameterStore(manager, false), inputs, false).head().toFloatArray();
  }

  /** Trains with DJL; returns the first loss and the last. */
  private float[] train(PeftModel peft) {
    NDArray labels = inputs.head().get(":, :4").argMax(1);
    float[] losses = new float[2];
    DefaultTrainingConfig config =
        new DefaultTrainingConfig(Loss.softmaxCrossEntropyLoss())
            .optDevices(new Device[] {Device.cpu()})
            .optOptimizer(Optimizer.adam().optLearningRateTracker(Tracker.fixed(0.05f)).build());
    try (Model model = Model.newInstance("consumer", Device.cpu(), "PyTorch")) {
      model.setBlock(peft.block());
      try (Trainer trainer = model.newTrainer(config)) {
        trainer.initialize(new Shape(ROWS, 8));
        for (int step = 0; step < 60; step++) {
          try (GradientCollector collector = trainer.newGradientCollector()) {
            NDArray loss = trainer.getLoss().evaluate(new NDList(labels), trainer.forward(inputs));
            collector.backward(loss);
            losses[step == 0 ? 0 : 1] = loss.getFloat();
          }
          trainer.step();
        }
      }
    }
    return losses;
  }

  @Test
  void methodsMeetInOneModel() {
    try (PeftModel model =
        Peft.wrap(network, LoraConfig.builder().rank(2).targetModules("01Linear").build())) {
      model.addAdapter("scaled", new ScalingConfig(List.of("01Linear")));
      model.setActiveAdapters("default", "scaled");
      train(model);
      float[] both = output(model);
      model.merge();
      assertArrayEquals(both, output(model), 1e-5f);
      InvalidConfigException e =
          assertThrows(
              InvalidConfigException.class,
              () -> model.addAdapter("wrong", new ScalingConfig(List.of("02Relu"))));
      assertTrue(e.getMessage().contains("02Relu"), e.getMessage());
    }
  }
}
