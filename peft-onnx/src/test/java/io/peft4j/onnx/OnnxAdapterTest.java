package io.peft4j.onnx;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class OnnxAdapterTest {
  @TempDir private Path temporary;

  @ParameterizedTest
  @ValueSource(strings = {"llama-lora", "llama-rslora", "bert-lora"})
  void adaptersAreAsOnnxRuntimesOwnWriterHasThem(String name) {
    OnnxAdapter expected =
        OnnxAdapter.read(Golden.ROOT.resolve("onnx").resolve(name + ".onnx_adapter"));
    try (PretrainedModel base = Golden.model(name.substring(0, name.indexOf('-')));
        PeftModel model = PeftModel.load(base, Golden.ROOT.resolve("adapters").resolve(name))) {
      Path file = temporary.resolve("a.onnx_adapter");
      OnnxAdapter.of(model, Peft.DEFAULT_ADAPTER).write(file);
      OnnxAdapter written = OnnxAdapter.read(file);
      assertEquals(expected.shapes(), written.shapes());
      for (String tensor : expected.shapes().keySet()) {
        assertArrayEquals(expected.values(tensor), written.values(tensor), 1e-7f, tensor);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama-dora", "llama-embedding", "llama-lora-bias", "llama-save-norm"})
  void whatIsNoProductAtALinearLayerIsRefusedByName(String name) {
    try (PretrainedModel base = Golden.model("llama");
        PeftModel model = PeftModel.load(base, Golden.ROOT.resolve("adapters").resolve(name))) {
      InvalidConfigException error =
          assertThrows(
              InvalidConfigException.class, () -> OnnxAdapter.of(model, Peft.DEFAULT_ADAPTER));
      assertTrue(error.getMessage().contains("Export it merged"), error.getMessage());
    }
  }

  @Test
  void damagedFilesAreRefused() throws Exception {
    Path file = temporary.resolve("a.onnx_adapter");
    byte[] whole =
        Files.readAllBytes(Golden.ROOT.resolve("onnx").resolve("llama-lora.onnx_adapter"));
    for (int length : new int[] {0, 7, 8, 40, whole.length / 2, whole.length - 8}) {
      Files.write(file, Arrays.copyOf(whole, length));
      assertThrows(MalformedFileException.class, () -> OnnxAdapter.read(file), "" + length);
    }
    assertThrows(
        MalformedFileException.class, () -> OnnxAdapter.read(temporary.resolve("missing")));
  }
}
