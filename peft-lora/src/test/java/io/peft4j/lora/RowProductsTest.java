package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterSet;
import io.peft4j.ForwardMode;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.TrainableParameter;
import io.peft4j.nn.TrainingOptions;
import io.peft4j.testkit.LiveArrays;
import io.peft4j.testkit.TinyNetwork;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Batches of many adapters compute what each row computes alone, and its gradients. */
final class RowProductsTest {
  private static final int LENGTH = 4;

  private final NDManager manager = NDManager.newBaseManager("PyTorch");
  private final TinyNetwork network = new TinyNetwork(2);
  private PeftModel model;

  @BeforeEach
  void open() {
    model = Peft.open(network);
    for (int i = 0; i < 5; i++) {
      // Ranks and layers differ: some groups are filled up, some have nothing to add.
      LoraConfigBuilder config =
          LoraConfig.builder()
              .rank(1 + i)
              .alpha(3 + i)
              .initialization(LoraInitialization.Kind.RANDOM);
      model.addAdapter(
          "a" + i,
          i == 3
              ? config.targetModules("mix").build()
              : config.targetModules("mix", "up", "down").build());
    }
  }

  @AfterEach
  void close() {
    model.close();
    network.close();
    manager.close();
  }

  private NDList inputs(int rows) {
    long[] tokens = new Random(3).longs((long) rows * LENGTH, 0, TinyNetwork.TOKENS).toArray();
    return new NDList(manager.create(tokens, new Shape(rows, LENGTH)));
  }

  private NDList row(NDList inputs, int row) {
    return new NDList(inputs.head().get(row + ":" + (row + 1)));
  }

  private static float[] values(NDList outputs) {
    try (outputs) {
      return outputs.head().toFloatArray();
    }
  }

  private void check(String... rows) {
    NDList inputs = inputs(rows.length);
    float[] together = values(model.with(AdapterSet.rows(rows)).forward(inputs));
    for (int i = 0; i < rows.length; i++) {
      float[] alone =
          values(
              (rows[i].equals(AdapterSet.BASE) ? model.with() : model.with(rows[i]))
                  .forward(row(inputs, i)));
      assertArrayEquals(
          alone, Arrays.copyOfRange(together, i * alone.length, (i + 1) * alone.length), 1e-5f);
    }
  }

  @Test
  void eachRowIsWhatItIsAlone() {
    check("a0", "a1", "a2", "a3", "a4");
    check("a0", "a0", "a1", "a1", "a2", "a2");
    check("a4", AdapterSet.BASE, "a0", "a4", "a3", AdapterSet.BASE, "a4", "a1");
    check("a3", AdapterSet.BASE, "a3", "a1");
  }

  @Test
  void nothingIsLeftBehind() {
    NDList inputs = inputs(4);
    AdapterSet rows = AdapterSet.rows("a0", "a1", "a2", "a0");
    values(model.with(rows).forward(inputs));
    int live = LiveArrays.count();
    values(model.with(rows).forward(inputs));
    LiveArrays.assertCount(live, "a pass");
  }

  private Map<String, float[]> gradients(NDList inputs, AdapterSet set) {
    model.setActiveAdapters(set);
    model.trainAdapters("a0", "a1", "a2", "a3", "a4");
    Map<String, float[]> gradients = new TreeMap<>();
    for (TrainableParameter parameter : model.trainableParameters()) {
      try (NDArray gradient = parameter.array().getGradient()) {
        if (gradient != null) {
          gradient.muli(0);
        }
      }
    }
    model.accumulateGradients(
        inputs,
        outputs -> outputs.head().pow(2).sum(),
        ForwardMode.TRAINING,
        TrainingOptions.PLAIN,
        1);
    for (TrainableParameter parameter : model.trainableParameters()) {
      try (NDArray gradient = parameter.array().getGradient()) {
        gradients.put(parameter.adapter() + "/" + parameter.name(), gradient.toFloatArray());
      }
    }
    return gradients;
  }

  @Test
  void gradientsOfTheBatchAreTheSumsOfThoseOfItsRows() {
    String[] names = {"a0", "a1", "a4", "a2", "a1", "a3"};
    NDList inputs = inputs(names.length);
    Map<String, float[]> expected = new TreeMap<>();
    for (int i = 0; i < names.length; i++) {
      gradients(row(inputs, i), AdapterSet.of(names[i]))
          .forEach(
              (key, values) ->
                  expected.merge(
                      key,
                      values,
                      (sum, more) -> {
                        for (int j = 0; j < sum.length; j++) {
                          sum[j] += more[j];
                        }
                        return sum;
                      }));
    }
    int live = LiveArrays.count();
    Map<String, float[]> together = gradients(inputs, AdapterSet.rows(names));
    LiveArrays.assertCount(live, "a step");
    assertEquals(expected.keySet(), together.keySet());
    expected.forEach((key, values) -> assertArrayEquals(values, together.get(key), 1e-3f, key));
    List<float[]> all = new ArrayList<>(together.values());
    assertFalse(all.stream().allMatch(values -> Arrays.equals(values, new float[values.length])));
  }
}
