package io.peft4j.qlora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import io.peft4j.AdapterSet;
import io.peft4j.AdapterStateException;
import io.peft4j.MergeReport;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.lora.LoraConfig;
import io.peft4j.lora.LoraConfigBuilder;
import io.peft4j.lora.LoraInitialization;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.SaveOptions;
import io.peft4j.nn.DenseWeight;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.state.TensorType;
import io.peft4j.target.Targets;
import io.peft4j.testkit.LiveArrays;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Precision;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Merging adapters into a base in 4 bits: into what it unpacks to, and back into 4 bits. */
final class MergingTest {
  @TempDir private Path temporary;

  private static LoraConfigBuilder lora() {
    return LoraConfig.builder()
        .rank(4)
        .alpha(4)
        .targetModules(Targets.allLinear())
        .initialization(LoraInitialization.Kind.RANDOM);
  }

  private static float[] output(PretrainedModel base) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      return base.forward(Bases.inputs(manager, 3, 11)).head().toFloatArray();
    }
  }

  private static float[] output(PeftModel model) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDList inputs = Bases.inputs(manager, 3, 11);
      return model.forward(inputs).head().toFloatArray();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama", "llama-f16", "gpt2"})
  void mergingLosesNothingAndUnmergingRestoresEveryByte(String name) {
    try (PretrainedModel base = Bases.quantized(name, Bases.NF4);
        PeftModel model = Peft.wrap(base, lora().build())) {
      Map<String, ByteBuffer> bytes = Bases.bytes(base);
      float[] plain = output(base);
      float[] adapted = output(model);
      model.safeMerge();
      assertTrue(Bases.bytes(base).isEmpty(), "every linear layer was merged into");
      assertArrayEquals(adapted, output(base), 1e-4f);
      model.unmerge();
      assertEquals(bytes, Bases.bytes(base));
      assertArrayEquals(plain, output(base));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama", "llama-f16", "gpt2"})
  void mergingAsStoredQuantizesTheSum(String name) {
    int live = LiveArrays.count();
    LoraConfig config = lora().useDora(name.equals("llama")).build();
    try (PretrainedModel base = Bases.quantized(name, Bases.NF4);
        PeftModel model = Peft.wrap(base, config)) {
      Map<String, ByteBuffer> before = Bases.bytes(base);
      Map<String, float[]> values = values(base);
      model.merge();
      Map<String, float[]> sums = values(base);
      Map<String, ByteBuffer> expected = quantized(base, Bases.NF4, types(model));
      model.unmerge();

      MergeReport report = model.mergeAsStored(model.activeAdapters());

      assertEquals(expected, Bases.bytes(base));
      Map<String, float[]> merged = values(base);
      assertEquals(
          expected.keySet().stream().filter(key -> key.endsWith(".weight")).toList(),
          report.weights().stream().map(MergeReport.MergedWeight::name).toList());
      for (MergeReport.MergedWeight weight : report.weights()) {
        float[] sum = sums.get(weight.name());
        assertEquals(distance(sum, values.get(weight.name())), weight.effect(), 1e-4);
        assertEquals(distance(sum, merged.get(weight.name())), weight.error(), 1e-4);
        assertTrue(weight.error() > 0);
      }
      assertEquals(
          Math.sqrt(report.weights().stream().mapToDouble(w -> w.error() * w.error()).sum()),
          report.error());
      assertTrue(report.error() < report.effect(), "large adapters outweigh the error");

      AdapterStateException twice =
          assertThrows(
              AdapterStateException.class, () -> model.mergeAsStored(model.activeAdapters()));
      assertTrue(twice.getMessage().contains("unmerge"));
      model.unmerge();
      assertEquals(before, Bases.bytes(base));
      assertTrue(model.mergeAsStored(AdapterSet.none()).weights().isEmpty());
    }
    LiveArrays.assertCount(live, "merging");
  }

  /** The type that each parameter has before it is merged into. */
  private static Map<String, TensorType> types(PeftModel model) {
    Map<String, TensorType> types = new HashMap<>();
    PretrainedModel base = (PretrainedModel) model.backbone();
    model.unmerge();
    try (WeightSnapshot lease = base.weights().lease()) {
      for (String name : base.layout().parameters().keySet()) {
        types.put(name, lease.weight(base.layout().parameterIndex(name)).type());
      }
    }
    model.merge();
    return types;
  }

  private static Map<String, ByteBuffer> quantized(
      PretrainedModel base, BitsAndBytesConfig config, Map<String, TensorType> types) {
    Map<String, ByteBuffer> all = new LinkedHashMap<>();
    try (WeightSnapshot lease = base.weights().lease();
        GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      boolean turned = base.modelType().equals("gpt2");
      base.layout().layers().stream()
          .filter(layer -> layer.kind().isLinear() && !layer.path().equals("lm_head"))
          .forEach(
              layer -> {
                String name = layer.weightName();
                NDArray dense = lease.weight(base.layout().parameterIndex(name)).dense();
                try (QuantizedTensor tensor =
                    QuantizedTensor.quantize(
                        config, turned ? dense.transpose() : dense, types.get(name), name)) {
                  all.putAll(Bases.bytes(name, FourBitWeight.of(tensor, Precision.FLOAT32)));
                }
              });
    }
    return all;
  }

  private static Map<String, float[]> values(PretrainedModel base) {
    Map<String, float[]> all = new HashMap<>();
    try (WeightSnapshot lease = base.weights().lease();
        GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      for (String name : base.layout().parameters().keySet()) {
        all.put(name, lease.weight(base.layout().parameterIndex(name)).dense().toFloatArray());
      }
    }
    return all;
  }

  private static double distance(float[] a, float[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += ((double) a[i] - b[i]) * ((double) a[i] - b[i]);
    }
    return Math.sqrt(sum);
  }

  @Test
  void whatIsNotFiniteIsNotMerged() {
    try (PretrainedModel base = Bases.quantized("llama", Bases.NF4);
        PeftModel model = Peft.wrap(base, lora().build())) {
      try (GradMode off = GradMode.off()) {
        model.trainableParameters().get(0).array().muli(Float.NaN);
      }
      Map<String, ByteBuffer> before = Bases.bytes(base);
      int live = LiveArrays.count();
      AdapterStateException refused =
          assertThrows(
              AdapterStateException.class, () -> model.mergeAsStored(model.activeAdapters()));
      assertTrue(refused.getMessage().contains("model.layers.0.self_attn.q_proj.weight"));
      assertEquals(before, Bases.bytes(base));
      LiveArrays.assertCount(live, "a merge that was refused");
    }
  }

  @Test
  void mergedBasesAreSaved() {
    float[] adapted;
    float[] packed;
    try (PretrainedModel base = Bases.quantized("llama", Bases.NF4);
        PeftModel model = Peft.wrap(base, lora().targetModules("q_proj", "down_proj").build())) {
      adapted = output(model);
      model.merge();
      base.save(temporary.resolve("dense"));
      model.unmerge();
      model.mergeAsStored(model.activeAdapters());
      packed = output(base);
      base.save(temporary.resolve("packed"), SaveOptions.builder().asStored().build());
    }
    try (PretrainedModel dense = PretrainedModel.load(temporary.resolve("dense"), Bases.FLOAT32);
        WeightSnapshot lease = dense.weights().lease()) {
      Weight weight = Bases.weight(lease, dense, "model.layers.0.self_attn.q_proj");
      assertInstanceOf(DenseWeight.class, weight);
      assertArrayEquals(adapted, output(dense), 1e-4f);
    }
    try (PretrainedModel again = PretrainedModel.load(temporary.resolve("packed"), Bases.FLOAT32)) {
      assertFalse(Bases.bytes(again).isEmpty());
      assertArrayEquals(packed, output(again), 1e-5f);
    }
  }

  @Test
  void mergingForGoodKeepsTheFourBits() {
    int live = LiveArrays.count();
    try (PretrainedModel base = Bases.quantized("llama", Bases.NF4)) {
      PeftModel model = Peft.wrap(base, lora().build());
      model.mergeAsStored(model.activeAdapters());
      Map<String, ByteBuffer> merged = Bases.bytes(base);
      model.mergeAndUnload();
      assertEquals(merged, Bases.bytes(base));
    }
    LiveArrays.assertCount(live, "merging for good");
  }
}
