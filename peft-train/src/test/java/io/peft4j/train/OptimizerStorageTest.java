package io.peft4j.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.AdapterStateException;
import io.peft4j.TrainableParameter;
import io.peft4j.state.DynamicMap;
import io.peft4j.torch.GradMode;
import io.peft4j.train.checkpoint.CheckpointStore;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.SortedMap;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Moments in 8 bits and in a file, against bitsandbytes and against moments as they are. */
final class OptimizerStorageTest {
  private static final int COUNT = 4200;
  private static final OptimizerStorage PLAIN = OptimizerStorage.plain();

  @TempDir Path directory;
  private NDManager manager;

  @BeforeEach
  void open() {
    manager = NDManager.newBaseManager("PyTorch");
  }

  @AfterEach
  void close() {
    manager.close();
  }

  @Test
  void eightBitsAreThoseOfBitsAndBytes() {
    JsonNode golden = Golden.read("adamw_8bit");
    assertArrayEquals(
        Golden.floats(golden.get("unsigned_map")), DynamicMap.UNSIGNED.values(), "map");
    TrainableParameter parameter = parameter(COUNT);
    try (AdamW optimizer =
        optimizer(parameter, PLAIN.inEightBits(), golden.get("weight_decay").asDouble())) {
      for (int step = 0; step < golden.get("steps").asInt(); step++) {
        step(optimizer, parameter, step);
      }
      SortedMap<String, NDArray> state = optimizer.state(manager);
      // Sums are rounded in another order than the engine's, which may move a code to its
      // neighbour.
      for (String codes : List.of("exp_avg", "exp_avg_sq")) {
        NDArray array = state.get(codes + ".p");
        assertEquals(DataType.UINT8, array.getDataType());
        assertTrue(differing(golden, codes, array.toUint8Array()) <= 2, codes);
        assertArrayEquals(
            Golden.floats(golden.get(codes + "_absmax")),
            state.get(codes + "_absmax.p").toFloatArray(),
            1e-5f);
      }
      float[] values = parameter.array().toFloatArray();
      float[] expected = Golden.floats(golden.get("values"));
      int far = 0;
      for (int i = 0; i < expected.length; i++) {
        far += Math.abs(values[i * golden.get("stride").asInt()] - expected[i]) > 1e-6 ? 1 : 0;
      }
      assertTrue(far <= 2, far + " of " + expected.length + " values differ");
    }
  }

  private static int differing(JsonNode golden, String name, int[] codes) {
    int differing = 0;
    int stride = golden.get("stride").asInt();
    for (int i = 0; i < golden.get(name).size(); i++) {
      differing += golden.get(name).get(i).asInt() == codes[i * stride] ? 0 : 1;
    }
    return differing;
  }

  @Test
  void eightBitsStayNearThirtyTwo() {
    TrainableParameter wide = parameter(COUNT);
    TrainableParameter narrow = parameter(COUNT);
    try (AdamW plain = optimizer(wide, PLAIN, 0);
        AdamW small = optimizer(narrow, PLAIN.inEightBits(), 0)) {
      for (int step = 0; step < 30; step++) {
        step(plain, wide, step);
        step(small, narrow, step);
      }
      double moved = wide.array().sub(parameter(COUNT).array()).abs().mean().getFloat();
      double apart = wide.array().sub(narrow.array()).abs().mean().getFloat();
      assertTrue(apart < 0.1 * moved, apart + " of " + moved);
      assertTrue(bytes(small) < 0.27 * bytes(plain));
    }
  }

  private long bytes(AdamW optimizer) {
    return optimizer.state(manager).values().stream()
        .mapToLong(array -> array.getShape().size() * array.getDataType().getNumOfBytes())
        .sum();
  }

  @Test
  void pagesChangeNoBit() throws IOException {
    for (OptimizerStorage storage : List.of(PLAIN, PLAIN.inEightBits())) {
      TrainableParameter first = parameter(COUNT);
      TrainableParameter second = parameter(COUNT);
      try (AdamW held = optimizer(first, storage, 0.1);
          AdamW paged = optimizer(second, storage.pagedIn(directory), 0.1)) {
        for (int step = 0; step < 5; step++) {
          step(held, first, step);
          step(paged, second, step);
        }
        SortedMap<String, NDArray> expected = held.state(manager);
        SortedMap<String, NDArray> actual = paged.state(manager);
        assertEquals(expected.keySet(), actual.keySet());
        expected.forEach(
            (key, array) ->
                assertArrayEquals(array.toByteArray(), actual.get(key).toByteArray(), key));
        assertArrayEquals(first.array().toFloatArray(), second.array().toFloatArray());
      }
      try (Stream<Path> left = Files.list(directory)) {
        assertEquals(0, left.count());
      }
    }
  }

  @Test
  void savedEightBitStateGoesOn() {
    OptimizerStorage storage = PLAIN.inEightBits().pagedIn(directory);
    TrainableParameter whole = parameter(COUNT);
    TrainableParameter parts = parameter(COUNT);
    SortedMap<String, NDArray> state;
    try (AdamW optimizer = optimizer(whole, storage, 0.1)) {
      for (int step = 0; step < 9; step++) {
        step(optimizer, whole, step);
      }
    }
    try (AdamW optimizer = optimizer(parts, PLAIN.inEightBits(), 0.1)) {
      for (int step = 0; step < 4; step++) {
        step(optimizer, parts, step);
      }
      state = optimizer.state(manager);
    }
    try (AdamW optimizer = optimizer(parts, storage, 0.1)) {
      optimizer.loadState(state);
      for (int step = 4; step < 9; step++) {
        step(optimizer, parts, step);
      }
    }
    assertArrayEquals(whole.array().toFloatArray(), parts.array().toFloatArray());
    try (AdamW plain = optimizer(parts, PLAIN, 0.1)) {
      assertThrows(AdapterStateException.class, () -> plain.loadState(state));
    }
  }

  @Test
  void aPagedRunTakesUpAPlainOne() throws IOException {
    List<float[]> expected = run(directory.resolve("whole"), PLAIN, ResumableRun.STEPS);
    Path parts = directory.resolve("parts");
    run(parts, PLAIN, 11);
    OptimizerStorage paged = PLAIN.pagedIn(directory.resolve("pages"));
    run(parts, paged, 19);
    List<float[]> actual = run(parts, paged, ResumableRun.STEPS);
    for (int i = 0; i < expected.size(); i++) {
      assertArrayEquals(expected.get(i), actual.get(i));
    }
    assertArrayEquals(
        Files.readAllBytes(last(directory.resolve("whole"))), Files.readAllBytes(last(parts)));
  }

  private static Path last(Path run) {
    return new CheckpointStore(run).path(ResumableRun.STEPS).resolve(CheckpointStore.OPTIMIZER);
  }

  private List<float[]> run(Path where, OptimizerStorage storage, int steps) {
    Network network = new Network(manager, 1);
    ResumableRun.builder(network, where, 7)
        .optimizerStorage(storage)
        .listener(
            new TrainingListener() {
              private TrainingControl control = new TrainingControl();

              @Override
              public void onBegin(TrainingControl given) {
                control = given;
              }

              @Override
              public void onStep(TrainingStep done) {
                if (done.step() == steps) {
                  control.stop();
                }
              }
            })
        .resume()
        .build()
        .run();
    return network.values();
  }

  private static AdamW optimizer(
      TrainableParameter parameter, OptimizerStorage storage, double decay) {
    return new AdamW(
        List.of(new ParameterGroup(List.of(parameter), 1, decay)),
        OptimizerSettings.builder().build(),
        storage);
  }

  private TrainableParameter parameter(int count) {
    NDArray array = manager.create(drawn("adamw8bit start", count), new Shape(count));
    array.setRequiresGradient(true);
    return new TrainableParameter("", "p", array);
  }

  private void step(AdamW optimizer, TrainableParameter parameter, int step) {
    float[] gradient = drawn("adamw8bit " + step, COUNT);
    for (int i = 0; i < gradient.length; i++) {
      gradient[i] *= (float) Math.pow(4, step % 5 - 3);
    }
    try (GradMode on = GradMode.on();
        NDArray given = manager.create(gradient, parameter.array().getShape());
        NDArray same = parameter.array().mul(1)) {
      JniUtils.backward((PtNDArray) same, (PtNDArray) given, false, false);
    }
    optimizer.step(0.01);
    optimizer.zeroGradients();
  }

  /** Values between -1 and 1, as the script draws them. */
  private static float[] drawn(String name, int count) {
    CRC32 crc = new CRC32();
    crc.update(name.getBytes(StandardCharsets.UTF_8));
    int state = (int) crc.getValue();
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      state = state * 1664525 + 1013904223;
      float value = ((state >>> 8) - (1 << 23)) / (float) (1 << 23);
      values[i] = value * value * value;
    }
    return values;
  }
}
