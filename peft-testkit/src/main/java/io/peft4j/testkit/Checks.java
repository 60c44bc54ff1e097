package io.peft4j.testkit;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.peft4j.AdapterSet;
import io.peft4j.AdapterStateException;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.PeftView;
import io.peft4j.torch.GradMode;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.BeforeEach;

/** A network for each test, what tests do with it, and the count of native arrays after each. */
abstract class Checks {
  static final String A = Peft.DEFAULT_ADAPTER;
  static final String B = "other";

  private final Supplier<Fixture> source;
  private int live;

  // Set before each test.
  @SuppressWarnings("NullAway.Init")
  Fixture fixture;

  @SuppressWarnings("NullAway.Init")
  NDManager manager;

  @SuppressWarnings("NullAway.Init")
  TestNetwork network;

  Checks(Supplier<Fixture> source) {
    this.source = source;
  }

  @BeforeEach
  final void open() {
    live = LiveArrays.count();
    fixture = source.get();
    network = fixture.network();
    manager = NDManager.newBaseManager(Device.cpu(), "PyTorch");
  }

  @AfterEach
  final void close() {
    manager.close();
    network.close();
    LiveArrays.assertCount(live, "this test");
  }

  /** The network with a new adapter {@value Peft#DEFAULT_ADAPTER}. */
  final PeftModel wrap() {
    return Peft.wrap(network.block(), fixture.config());
  }

  /** The network with adapter {@link #A} that has been moved away from where it began. */
  final PeftModel wrapRandom() {
    PeftModel model = wrap();
    randomise(model, A, 1);
    return model;
  }

  /** The network with two such adapters, the second not acting. */
  final PeftModel wrapTwo() {
    PeftModel model = wrapRandom();
    model.addAdapter(B, fixture.other());
    randomise(model, B, 2);
    return model;
  }

  /** Moves every trained value of an adapter by noise. */
  static void randomise(PeftModel model, String adapter, long seed) {
    Random random = new Random(seed);
    try (GradMode off = GradMode.off();
        NDManager noise = NDManager.newBaseManager("PyTorch")) {
      for (NDArray array : model.adapter(adapter).parameters().values()) {
        float[] values = new float[(int) array.getShape().size()];
        for (int i = 0; i < values.length; i++) {
          values[i] = (float) (0.3 * random.nextGaussian());
        }
        array.addi(noise.create(values, array.getShape()));
      }
    }
  }

  final float[] forward(PeftModel model) {
    try (NDManager step = manager.newSubManager()) {
      return model.forward(network.inputs(step)).head().toFloatArray();
    }
  }

  final float[] forward(PeftView view) {
    try (NDManager step = manager.newSubManager()) {
      return view.forward(network.inputs(step)).head().toFloatArray();
    }
  }

  final float[] forward(PeftModel model, String... adapters) {
    return forward(model.with(adapters));
  }

  final float[] forward(PeftModel model, AdapterSet set) {
    return forward(model.with(set));
  }

  /** The values of an adapter's saved tensors. */
  static Map<String, float[]> state(PeftModel model, String adapter) {
    Map<String, float[]> values = new TreeMap<>();
    try (NDManager owner = NDManager.newBaseManager("PyTorch")) {
      model.stateDict(adapter, owner).forEach((key, a) -> values.put(key, a.toFloatArray()));
    }
    return values;
  }

  /** The values of an adapter's trained tensors. */
  static Map<String, float[]> parameters(PeftModel model, String adapter) {
    Map<String, float[]> values = new TreeMap<>();
    model.adapter(adapter).parameters().forEach((key, a) -> values.put(key, a.toFloatArray()));
    return values;
  }

  /** Asserts that something is refused, with a message that says certain things. */
  static void assertRefused(Runnable action, String... words) {
    AdapterStateException e = Assertions.assertThrows(AdapterStateException.class, action::run);
    for (String word : words) {
      Assertions.assertTrue(
          String.valueOf(e.getMessage()).contains(word),
          () -> "'" + word + "' is missing in: " + e.getMessage());
    }
  }
}
