package io.peft4j.onnx.gguf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.lora.LoraConfig;
import io.peft4j.lora.LoraInitialization;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.gguf.GgufExport;
import io.peft4j.models.gguf.GgufFile;
import io.peft4j.models.gguf.GgufType;
import io.peft4j.target.Targets;
import io.peft4j.torch.Precision;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What llama.cpp adds to a base is what merging adds, tensor by tensor in the order of GGUF. */
final class GgufLoraTest {
  private static final Path GOLDEN = Path.of(System.getProperty("peft4j.golden"), "gguf");

  @TempDir private Path temporary;

  @ParameterizedTest
  @ValueSource(
      strings = {"llama", "llama-untied", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "gpt2"})
  void adapterAndMergedFileSayTheSame(String name) {
    Path base = GOLDEN.resolve(name + ".gguf");
    Path lora = temporary.resolve("lora.gguf");
    Path merged = temporary.resolve("merged.gguf");
    LoraConfig config =
        LoraConfig.builder()
            .rank(2)
            .alpha(6)
            .rankPattern(Map.of("(layers|h)\\.1\\..*", 3))
            .useRslora(true)
            .targetModules(Targets.allLinear())
            .initialization(LoraInitialization.Kind.RANDOM)
            .build();
    LoadOptions exact = LoadOptions.builder().precision(Precision.FLOAT32).build();
    try (PretrainedModel model = PretrainedModel.load(base, exact);
        PeftModel adapted = Peft.wrap(model, config)) {
      GgufLora.write(adapted, Peft.DEFAULT_ADAPTER, model.config(), lora);
      adapted.merge();
      GgufExport.write(model, base, GgufType.F32, merged);
    }
    int changed = 0;
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GgufFile before = GgufFile.open(base);
        GgufFile after = GgufFile.open(merged);
        GgufFile added = GgufFile.open(lora)) {
      assertEquals(before.tensors().keySet(), after.tensors().keySet());
      assertTrue(after.metadata().keys().containsAll(before.metadata().keys()));
      double alpha = added.metadata().number("adapter.lora.alpha").orElseThrow();
      for (String tensor : before.tensors().keySet()) {
        NDArray expected = before.float32(manager, tensor);
        if (added.tensors().containsKey(tensor + ".lora_a")) {
          NDArray a = added.float32(manager, tensor + ".lora_a");
          NDArray b = added.float32(manager, tensor + ".lora_b");
          expected = expected.add(b.matMul(a).mul(alpha / a.getShape().get(0)));
          changed++;
        }
        float[] values = after.float32(manager, tensor).toFloatArray();
        assertArrayEquals(expected.toFloatArray(), values, 2e-5f, tensor);
      }
    }
    assertTrue(changed >= 8);
  }
}
