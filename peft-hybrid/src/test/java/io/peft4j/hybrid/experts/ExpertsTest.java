package io.peft4j.hybrid.experts;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterSet;
import io.peft4j.AdapterStateException;
import io.peft4j.ForwardMode;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.hybrid.HybridConfig;
import io.peft4j.ia3.Ia3Config;
import io.peft4j.lora.LoraConfig;
import io.peft4j.testkit.LiveArrays;
import io.peft4j.testkit.TestNetwork;
import io.peft4j.testkit.TinyNetwork;
import io.peft4j.torch.GradMode;
import io.peft4j.train.Batch;
import io.peft4j.train.BatchSource;
import io.peft4j.train.Losses;
import io.peft4j.train.Trainable;
import io.peft4j.train.Trainer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Several adapters as one. */
final class ExpertsTest {
  private static final float[][] WEIGHTS = {{1, 0, 0}, {0, 2, 0}, {0.25f, 0.5f, 0.25f}, {1, 0, -1}};

  @TempDir Path directory;
  private NDManager manager;
  private TestNetwork network;
  private PeftModel model;

  @BeforeEach
  void open() {
    manager = NDManager.newBaseManager("PyTorch");
    network = TestNetwork.tiny();
    model = Peft.open(network.block());
    LoraConfig lora = LoraConfig.builder().rank(2).targetModules("mix", "up").build();
    model.addAdapter("law", lora);
    model.addAdapter(
        "medicine",
        HybridConfig.builder()
            .part("task", lora)
            .part("gains", Ia3Config.builder().feedforwardModules().targetModules("mix").build())
            .build());
    randomise("law", 1);
    randomise("medicine", 2);
  }

  @AfterEach
  void close() {
    model.close();
    network.close();
    manager.close();
  }

  private void randomise(String adapter, long seed) {
    Random random = new Random(seed);
    try (GradMode off = GradMode.off()) {
      for (NDArray array : model.adapter(adapter).parameters().values()) {
        float[] values = new float[(int) array.getShape().size()];
        for (int i = 0; i < values.length; i++) {
          values[i] = (float) (0.5 * random.nextGaussian());
        }
        array.addi(manager.create(values, array.getShape()));
      }
    }
  }

  private Experts experts() {
    return Experts.of(model, "law", "medicine", AdapterSet.BASE);
  }

  private float[] alone(String... names) {
    return model.with(names).forward(network.inputs(manager)).head().toFloatArray();
  }

  @Test
  void theOutputIsTheWeightedSum() {
    float[][] alone = {alone("law"), alone("medicine"), alone()};
    NDList inputs = network.inputs(manager);
    int live = LiveArrays.count();
    NDList outputs = experts().forward(inputs, (batch, names) -> WEIGHTS);
    float[] mixed = outputs.head().toFloatArray();
    assertEquals(new Shape(TestNetwork.ROWS, TinyNetwork.CLASSES), outputs.head().getShape());
    outputs.close();
    LiveArrays.assertCount(live, "an ensemble");
    for (int i = 0; i < mixed.length; i++) {
      float expected = 0;
      for (int expert = 0; expert < 3; expert++) {
        expected += WEIGHTS[i / TinyNetwork.CLASSES][expert] * alone[expert][i];
      }
      assertEquals(expected, mixed[i], 1e-5);
    }
  }

  @Test
  void weightsThatCannotBeAreRefused() {
    NDList inputs = network.inputs(manager);
    for (float[][] bad :
        new float[][][] {
          {{1, 0, 0}},
          {{1, 0, 0}, {1, 0, 0}, {1, 0, 0}, {1, 0}},
          {{1, 0, 0}, {1, 0, 0}, {1, 0, 0}, {0, 0, 0}},
          {{1, 0, 0}, {1, 0, 0}, {1, 0, 0}, {Float.NaN, 0, 0}}
        }) {
      assertThrows(
          InvalidConfigException.class, () -> experts().forward(inputs, (batch, names) -> bad));
    }
    assertThrows(InvalidConfigException.class, () -> Experts.of(model));
    assertThrows(InvalidConfigException.class, () -> Experts.of(model, "law", "law"));
    assertThrows(AdapterStateException.class, () -> Experts.of(model, "law", "medicine/none"));
  }

  @Test
  void aNewGateGivesAllTheSameShare() {
    try (Gate gate = Gate.of(experts())) {
      NDList inputs = network.inputs(manager);
      for (float[] row : gate.weights(inputs, gateNames())) {
        assertArrayEquals(new float[] {1 / 3f, 1 / 3f, 1 / 3f}, row, 1e-6f);
      }
      float[] through =
          experts().forward(inputs, gate, ForwardMode.INFERENCE).head().toFloatArray();
      assertArrayEquals(experts().forward(inputs, gate).head().toFloatArray(), through, 1e-5f);
    }
  }

  private List<String> gateNames() {
    return experts().names();
  }

  @Test
  void paddingHasNoSay() {
    try (Gate gate = Gate.of(experts())) {
      gate.parameters()
          .forEach(
              parameter -> {
                float[] values = new float[(int) parameter.array().getShape().size()];
                Random random = new Random(4);
                for (int i = 0; i < values.length; i++) {
                  values[i] = (float) random.nextGaussian();
                }
                try (GradMode off = GradMode.off()) {
                  parameter.array().set(values);
                }
              });
      NDArray row = manager.create(new long[][] {{3, 5}});
      NDArray padded = manager.create(new long[][] {{3, 5, 7, 0}});
      NDArray mask = manager.create(new long[][] {{1, 1, 0, 0}});
      assertArrayEquals(
          gate.weights(new NDList(row), gateNames())[0],
          gate.weights(new NDList(padded, mask), gateNames())[0],
          1e-6f);
    }
  }

  /** Rows of two kinds, each of which one of the experts knows. */
  private static Batch batch(int... rows) {
    NDManager own = NDManager.newBaseManager("PyTorch");
    long[] tokens = new long[rows.length * 4];
    long[] labels = new long[rows.length];
    for (int i = 0; i < rows.length; i++) {
      Random random = new Random(rows[i]);
      labels[i] = random.nextBoolean() ? 0 : 2;
      for (int j = 0; j < 4; j++) {
        tokens[4 * i + j] = random.nextInt(6) + 3 * labels[i];
      }
    }
    NDArray ids = own.create(tokens, new Shape(rows.length, 4));
    return new Batch(own, new NDList(ids), new NDList(own.create(labels)));
  }

  /** An expert that says one class whatever it is asked. */
  private void addStubborn(String name, int label) {
    LoraConfig config =
        LoraConfig.builder().rank(1).loraBias(true).targetModules("classifier").build();
    model.addAdapter(name, config);
    float[] bias = new float[TinyNetwork.CLASSES];
    bias[label] = 8;
    try (GradMode off = GradMode.off()) {
      model
          .adapter(name)
          .parameters()
          .forEach(
              (key, array) -> {
                if (key.endsWith("lora_B.bias")) {
                  array.set(bias);
                }
              });
    }
  }

  @Test
  void aGateLearnsWhichExpertKnows() throws IOException {
    addStubborn("zero", 0);
    addStubborn("two", 2);
    Experts two = Experts.of(model, "zero", "two");
    try (Gate gate = Gate.of(two)) {
      List<Double> losses =
          Trainer.builder()
              .model(Trainable.of((in, mode) -> two.forward(in, gate, mode), gate.parameters()))
              .batches(BatchSource.shuffled(64, 16, 1, ExpertsTest::batch))
              .loss(Losses.crossEntropy())
              .learningRate(0.1)
              .epochs(40)
              .build()
              .run()
              .losses();
      assertTrue(losses.get(losses.size() - 1) < 0.5 * losses.get(0), losses.toString());
      float[][] weights;
      NDArray ids = manager.create(new long[][] {{0, 2, 4, 5}, {6, 8, 11, 7}});
      try (Batch some = batch(70, 71, 72, 73, 74, 75, 76, 77, 78, 79)) {
        long[] labels = some.labels().head().toLongArray();
        float[][] shares = gate.weights(some.inputs(), two.names());
        int right = 0;
        for (int i = 0; i < labels.length; i++) {
          right += shares[i][labels[i] == 0 ? 0 : 1] > 0.5 ? 1 : 0;
        }
        assertTrue(right >= 8, right + " of 10 rows go to the expert that knows");
      }
      weights = gate.weights(new NDList(ids), two.names());

      gate.save(directory);
      try (Gate again = Gate.load(two, directory)) {
        assertArrayEquals(weights[0], again.weights(new NDList(ids), two.names())[0]);
      }
      assertThrows(AdapterStateException.class, () -> Gate.load(experts(), directory));
      Files.writeString(
          directory.resolve("gate_config.json"),
          "{\"format_version\": 2, \"experts\": [\"zero\", \"two\"]}");
      assertThrows(MalformedFileException.class, () -> Gate.load(two, directory));
    }
  }
}
