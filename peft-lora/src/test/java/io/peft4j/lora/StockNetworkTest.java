package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.Device;
import ai.djl.Model;
import ai.djl.basicmodelzoo.basic.Mlp;
import ai.djl.basicmodelzoo.cv.classification.ResNetV1;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.Block;
import ai.djl.nn.Parameter;
import ai.djl.nn.SequentialBlock;
import ai.djl.nn.convolutional.Conv1d;
import ai.djl.nn.core.Linear;
import ai.djl.nn.transformer.BertBlock;
import ai.djl.training.DefaultTrainingConfig;
import ai.djl.training.GradientCollector;
import ai.djl.training.ParameterStore;
import ai.djl.training.Trainer;
import ai.djl.training.loss.Loss;
import ai.djl.training.optimizer.Optimizer;
import ai.djl.training.tracker.Tracker;
import io.peft4j.AdapterSet;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.target.Targets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Networks made of DJL's own blocks. */
final class StockNetworkTest {
  private NDManager manager;

  @BeforeEach
  void open() {
    manager = NDManager.newBaseManager(Device.cpu(), "PyTorch");
  }

  @AfterEach
  void close() {
    manager.close();
  }

  private Block mlp() {
    Block block = new Mlp(12, 5, new int[] {16, 16});
    block.initialize(manager, DataType.FLOAT32, new Shape(4, 12));
    return block;
  }

  private static LoraConfig random(String... targets) {
    LoraConfigBuilder builder =
        LoraConfig.builder().rank(3).initialization(LoraInitialization.Kind.RANDOM);
    return (targets.length == 0
            ? builder.targetModules(Targets.allLinear())
            : builder.targetModules(targets))
        .build();
  }

  private static float[] forward(PeftModel model, NDList inputs) {
    return model.forward(inputs).head().toFloatArray();
  }

  @Test
  void aNetworkIsNotOverwrittenUnderARunningPass() throws Exception {
    CountDownLatch running = new CountDownLatch(1);
    CountDownLatch goOn = new CountDownLatch(1);
    Block block =
        new SequentialBlock()
            .add(
                arrays -> {
                  // Initialising the network calls this too, before anybody waits.
                  if (running.getCount() > 0 && Thread.currentThread().getName().equals("pass")) {
                    running.countDown();
                    try {
                      goOn.await();
                    } catch (InterruptedException e) {
                      throw new AssertionError(e);
                    }
                  }
                  return arrays;
                })
            .add(Linear.builder().setUnits(3).build());
    block.initialize(manager, DataType.FLOAT32, new Shape(2, 4));
    NDArray input = manager.randomNormal(new Shape(2, 4));
    try (PeftModel model = Peft.wrap(block, random("02Linear"))) {
      float[] base = model.with().forward(new NDList(input)).head().toFloatArray();
      float[] adapted = forward(model, new NDList(input));
      float[][] passed = new float[1][];
      Thread pass =
          new Thread(
              () -> passed[0] = model.with().forward(new NDList(input)).head().toFloatArray(),
              "pass");
      pass.start();
      running.await();
      assertThrows(AdapterStateException.class, model::mergeAndUnload);
      assertTrue(model.mergedAdapters().isNone());
      goOn.countDown();
      pass.join();
      assertArrayEquals(base, passed[0]);
      assertArrayEquals(adapted, forward(model, new NDList(input)));
      model.mergeAndUnload();
      float[] merged =
          block
              .forward(new ParameterStore(manager, false), new NDList(input), false)
              .head()
              .toFloatArray();
      assertArrayEquals(adapted, merged, 1e-5f);
    }
  }

  @Test
  void pathsAreChildNames() {
    Block mlp = mlp();
    try (PeftModel model = Peft.wrap(mlp, LoraConfig.builder().targetModules("02Linear").build())) {
      assertEquals(
          List.of("02Linear"), model.layerReport("default").stream().map(l -> l.path()).toList());
    }
  }

  @Test
  void mergesLikeTheAdapterAndComesBackBitForBit() {
    Block mlp = mlp();
    NDList x = new NDList(manager.randomNormal(new Shape(4, 12)));
    try (PeftModel model = Peft.wrap(mlp, random())) {
      float[] base = model.with().forward(x).head().toFloatArray();
      float[] adapted = forward(model, x);
      assertNotEquals(base[0], adapted[0], 1e-3f);
      model.merge();
      assertArrayEquals(adapted, forward(model, x), 1e-5f);
      assertArrayEquals(base, model.with().forward(x).head().toFloatArray());
      model.unmerge();
      assertArrayEquals(base, model.with().forward(x).head().toFloatArray());
      assertEquals(mlp, model.mergeAndUnload());
      float[] plain =
          mlp.forward(new ai.djl.training.ParameterStore(manager, false), x, false)
              .head()
              .toFloatArray();
      assertArrayEquals(adapted, plain, 1e-5f);
    }
  }

  @Test
  void rowsTakeTheirOwnAdapters() {
    NDList x = new NDList(manager.randomNormal(new Shape(4, 12)));
    try (PeftModel model = Peft.wrap(mlp(), random())) {
      model.addAdapter("other", random("02Linear"));
      float[] a = forward(model, x);
      float[] b = model.with("other").forward(x).head().toFloatArray();
      float[] base = model.with().forward(x).head().toFloatArray();
      float[] mixed =
          model
              .with(AdapterSet.rows("other", "__base__", "default", "other"))
              .forward(x)
              .head()
              .toFloatArray();
      float[] expected = b.clone();
      System.arraycopy(base, 5, expected, 5, 5);
      System.arraycopy(a, 10, expected, 10, 5);
      assertArrayEquals(expected, mixed, 1e-5f);
    }
  }

  @Test
  void djlTrainerTrainsTheAdapterAlone() {
    Block mlp = mlp();
    List<float[]> before = values(mlp);
    try (PeftModel peft =
            Peft.wrap(
                mlp, LoraConfig.builder().rank(4).targetModules(Targets.allLinear()).build());
        Model model = Model.newInstance("wrapped", Device.cpu(), "PyTorch")) {
      model.setBlock(peft.block());
      DefaultTrainingConfig config =
          new DefaultTrainingConfig(Loss.softmaxCrossEntropyLoss())
              .optDevices(new Device[] {Device.cpu()})
              .optOptimizer(Optimizer.adam().optLearningRateTracker(Tracker.fixed(0.02f)).build());
      NDArray x = manager.randomNormal(new Shape(32, 12));
      NDArray labels = x.get(":, :5").argMax(1);
      float first = 0;
      float last = 0;
      try (Trainer trainer = model.newTrainer(config)) {
        trainer.initialize(new Shape(32, 12));
        for (int step = 0; step < 60; step++) {
          try (GradientCollector collector = trainer.newGradientCollector()) {
            NDArray loss =
                trainer.getLoss().evaluate(new NDList(labels), trainer.forward(new NDList(x)));
            collector.backward(loss);
            last = loss.getFloat();
            first = step == 0 ? last : first;
          }
          trainer.step();
        }
      }
      assertTrue(last < first / 2, first + " -> " + last);
      List<float[]> after = values(mlp);
      for (int i = 0; i < before.size(); i++) {
        assertArrayEquals(before.get(i), after.get(i));
      }
    }
  }

  private static List<float[]> values(Block block) {
    List<float[]> values = new ArrayList<>();
    for (Parameter parameter : block.getParameters().values()) {
      values.add(parameter.getArray().toFloatArray());
    }
    return values;
  }

  @Test
  void convolutionsOfAResidualNetworkKeepTheirStatistics() {
    Block resnet =
        ResNetV1.builder()
            .setNumLayers(18)
            .setOutSize(7)
            .setImageShape(new Shape(3, 32, 32))
            .build();
    resnet.initialize(manager, DataType.FLOAT32, new Shape(2, 3, 32, 32));
    List<float[]> before = values(resnet);
    NDList x = new NDList(manager.randomNormal(new Shape(2, 3, 32, 32)));
    LoraConfig config =
        LoraConfig.builder()
            .rank(2)
            .initialization(LoraInitialization.Kind.RANDOM)
            .targetModules(Targets.expression(".*Conv2d"))
            .build();
    try (PeftModel model = Peft.wrap(resnet, config)) {
      assertTrue(model.layerReport("default").size() > 15);
      float[] adapted = forward(model, x);
      model.forward(x, io.peft4j.ForwardMode.TRAINING);
      assertNotEquals(model.with().forward(x).head().toFloatArray()[0], adapted[0]);
      model.merge();
      assertArrayEquals(adapted, forward(model, x), 1e-3f);
    }
    List<float[]> after = values(resnet);
    for (int i = 0; i < before.size(); i++) {
      assertArrayEquals(before.get(i), after.get(i));
    }
  }

  @Test
  void doraOfAConvolutionBeginsAsTheBase() {
    SequentialBlock block = new SequentialBlock();
    block.add(Conv1d.builder().setFilters(6).setKernelShape(new Shape(3)).build());
    block.initialize(manager, DataType.FLOAT32, new Shape(2, 4, 9));
    NDList x = new NDList(manager.randomNormal(new Shape(2, 4, 9)));
    LoraConfig config =
        LoraConfig.builder().rank(2).useDora(true).targetModules("01Conv1d").build();
    try (PeftModel model = Peft.wrap(block, config)) {
      assertArrayEquals(model.with().forward(x).head().toFloatArray(), forward(model, x), 1e-5f);
    }
  }

  @Test
  void embeddingsOfABertBlock() {
    BertBlock bert =
        BertBlock.builder().micro().optMaxSequenceLength(5).setTokenDictionarySize(50).build();
    bert.initialize(
        manager,
        DataType.FLOAT32,
        new Shape(2, 5),
        new Shape(2, 5),
        new Shape(2, 5),
        new Shape(2, 5));
    NDArray ids = manager.create(new long[] {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, new Shape(2, 5));
    NDList x =
        new NDList(
            ids, manager.zeros(new Shape(2, 5), DataType.INT64), manager.ones(new Shape(2, 5)));
    LoraConfig config =
        LoraConfig.builder()
            .rank(2)
            .initialization(LoraInitialization.Kind.RANDOM)
            .targetModules(Targets.expression(".*(queryProjection|[eE]mbedding)"))
            .build();
    try (PeftModel model = Peft.wrap(bert, config)) {
      assertTrue(
          model.layerReport("default").stream().anyMatch(l -> l.path().contains("mbedding")),
          model.layerReport("default").toString());
      float[] adapted = forward(model, x);
      model.merge();
      assertArrayEquals(adapted, forward(model, x), 1e-4f);
    }
  }

  @Test
  void dropoutIsRefusedByName() {
    InvalidConfigException e =
        assertThrows(
            InvalidConfigException.class,
            () ->
                Peft.wrap(
                    mlp(), LoraConfig.builder().dropout(0.1).targetModules("02Linear").build()));
    assertTrue(e.getMessage().contains("lora_dropout"), e.getMessage());
  }

  @Test
  void anUninitialisedNetworkIsNamed() {
    Block block = Linear.builder().setUnits(3).build();
    InvalidConfigException e =
        assertThrows(InvalidConfigException.class, () -> Peft.wrap(block, random()));
    assertTrue(e.getMessage().contains("initialise"), e.getMessage());
  }
}
