package io.peft4j.qlora;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import com.sun.jna.Function;
import com.sun.jna.NativeLibrary;
import com.sun.jna.NativeLong;
import com.sun.jna.Structure;
import com.sun.jna.Structure.FieldOrder;
import io.peft4j.ForwardMode;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.lora.LoraConfig;
import io.peft4j.models.PretrainedModel;
import io.peft4j.nn.DenseWeight;
import io.peft4j.nn.TrainingOptions;
import io.peft4j.nn.Weight;
import io.peft4j.state.Json;
import io.peft4j.state.TensorType;
import io.peft4j.target.Targets;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Precision;
import io.peft4j.torch.Scopes;
import io.peft4j.train.Batch;
import io.peft4j.train.Losses;
import io.peft4j.train.Trainable;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** How much of a base in 4 bits is dense at one time, by what the engine has allocated. */
final class DenseMemoryTest {
  private static final int HIDDEN = 512;
  private static final int INNER = 1024;
  private static final int LAYERS = 6;

  /** Bytes of one dense layer: 10.5 MB beside activations of less than 1 MB. */
  private static final long LAYER = (4L * HIDDEN * HIDDEN + 3L * HIDDEN * INNER) * Float.BYTES;

  /** A layer, and what else a step has. */
  private static final double MOST = 1.35;

  /** DoRA's norms need one weight beside what the backward pass keeps of the layer. */
  private static final double WEIGHT = 0.25;

  /** The activations of all layers. */
  private static final double KEPT = 0.3;

  /** What the C library says of its heap. */
  @FieldOrder({
    "arena",
    "ordblks",
    "smblks",
    "hblks",
    "hblkhd",
    "usmblks",
    "fsmblks",
    "uordblks",
    "fordblks",
    "keepcost"
  })
  public static class Heap extends Structure implements Structure.ByValue {
    public NativeLong arena = new NativeLong();
    public NativeLong ordblks = new NativeLong();
    public NativeLong smblks = new NativeLong();
    public NativeLong hblks = new NativeLong();
    public NativeLong hblkhd = new NativeLong();
    public NativeLong usmblks = new NativeLong();
    public NativeLong fsmblks = new NativeLong();
    public NativeLong uordblks = new NativeLong();
    public NativeLong fordblks = new NativeLong();
    public NativeLong keepcost = new NativeLong();
  }

  private static Function heap() {
    try {
      return NativeLibrary.getInstance("c").getFunction("mallinfo2");
    } catch (LinkageError e) {
      assumeTrue(false, "the C library does not tell what it has given out");
      throw e;
    }
  }

  private static long allocated() {
    Heap heap = (Heap) heap().invoke(Heap.class, new Object[0]);
    return heap.uordblks.longValue() + heap.hblkhd.longValue();
  }

  /** The most that was allocated when weights were used. */
  private static final class Peak {
    private long most;

    void look() {
      most = Math.max(most, allocated());
    }
  }

  /** A weight that looks how much is allocated each time it has been used. */
  private record Watched(Weight weight, Peak peak) implements Weight {
    @Override
    public Shape shape() {
      return weight.shape();
    }

    private NDArray looked(NDArray array) {
      peak.look();
      return array;
    }

    @Override
    public NDArray dense() {
      return looked(weight.dense());
    }

    @Override
    public NDArray source() {
      return looked(weight.source());
    }

    @Override
    public NDArray linear(NDArray x, NDArray bias) {
      return looked(weight.linear(x, bias));
    }

    @Override
    public NDArray rows(NDArray ids) {
      return weight.rows(ids);
    }

    @Override
    public long bytes() {
      return weight.bytes();
    }

    @Override
    public void close() {
      weight.close();
    }
  }

  private static PretrainedModel base(Peak peak) {
    var config = Json.readObject(Bases.GOLDEN.resolve("models/llama/config.json"));
    config.put("hidden_size", HIDDEN).put("intermediate_size", INNER);
    config.put("num_hidden_layers", LAYERS).put("num_attention_heads", 8);
    config.put("num_key_value_heads", 8).put("head_dim", HIDDEN / 8);
    Map<String, Weight> weights = new LinkedHashMap<>();
    PretrainedModel.layout(config)
        .parameters()
        .forEach((name, shape) -> weights.put(name, weight(name, shape, peak)));
    return PretrainedModel.of(config, weights);
  }

  private static Weight weight(String name, Shape shape, Peak peak) {
    boolean packed = shape.dimension() == 2 && name.contains(".layers.");
    NDArray values =
        Scopes.unmanaged(
            Device.cpu(),
            manager ->
                packed
                    ? manager.randomNormal(0, 0.02f, shape, DataType.FLOAT32)
                    : manager.ones(shape).mul(0.5f));
    if (!packed) {
      return DenseWeight.owning(values);
    }
    try (values) {
      QuantizedTensor tensor = QuantizedTensor.quantize(Bases.NF4, values, TensorType.F32, name);
      return new Watched(FourBitWeight.of(tensor, Precision.FLOAT32), peak);
    }
  }

  @ParameterizedTest
  @CsvSource({
    // By hand, whatever is kept of activations.
    "false, false, 0",
    "true, false, 0",
    // Recorded: what is more than a low-rank product, and dropout.
    "true, true, 0",
    "true, false, 0.1"
  })
  void atMostOneLayerIsDense(boolean recomputed, boolean dora, double dropout) {
    LoraConfig lora =
        LoraConfig.builder()
            .rank(2)
            .dropout(dropout)
            .useDora(dora)
            .targetModules(Targets.allLinear())
            .build();
    Peak peak = new Peak();
    try (PretrainedModel base = base(peak);
        PeftModel model = Peft.wrap(base, lora)) {
      Trainable trainable = Trainable.of(model, new TrainingOptions(recomputed, 0));
      step(trainable);
      long before = allocated();
      peak.most = 0;
      step(trainable);
      double layers = (double) (peak.most - before) / LAYER;
      double most = MOST + (recomputed ? 0 : KEPT) + (dora ? WEIGHT : 0);
      assertTrue(layers < most, layers + " layers were dense at once");
      assertTrue(layers > 0.3, "nothing was seen: " + layers);
    }
  }

  @Test
  void aPassLeavesNothingDense() {
    Peak peak = new Peak();
    try (PretrainedModel base = base(peak);
        NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDList inputs = Bases.inputs(manager, 1, 16);
      base.forward(inputs).close();
      long before = allocated();
      peak.most = 0;
      base.forward(inputs).close();
      assertTrue(peak.most - before < LAYER, "more than one layer was dense");
      assertTrue(allocated() - before < LAYER / 4, "something dense was kept");
    }
  }

  private static void step(Trainable trainable) {
    NDManager manager = NDManager.newBaseManager("PyTorch");
    NDList inputs = Bases.inputs(manager, 1, 16);
    NDList labels = new NDList(inputs.get(0).duplicate());
    try (Batch batch = new Batch(manager, inputs, labels);
        GradMode on = GradMode.on();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      trainable.accumulateGradients(batch, Losses.causalLanguageModel(), ForwardMode.TRAINING, 1);
    }
  }
}
