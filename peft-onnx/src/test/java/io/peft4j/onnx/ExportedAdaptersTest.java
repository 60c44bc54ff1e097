package io.peft4j.onnx;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import io.peft4j.AdapterSet;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.Peft;
import io.peft4j.PeftException;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Adapters folded into graphs, and what is refused. */
final class ExportedAdaptersTest {
  @TempDir private Path temporary;

  @ParameterizedTest
  @CsvSource({
    "llama, llama-dora",
    "llama, llama-patterns",
    "llama, llama-save-norm",
    "llama, llama-embedding-and-head",
    "llama, llama-pissa-converted",
    "llama-tied, llama-tied-head",
    "gpt2, gpt2-all-linear",
    "gemma3, gemma3-embedding",
    "bert-classifier, bert-classifier-bias-all",
    "roberta-classifier, roberta-classifier-lora"
  })
  void mergedGraphsAnswerAsAdaptedModels(String base, String adapter) {
    try (PretrainedModel model = Golden.model(base);
        PeftModel adapted =
            PeftModel.load(model, Golden.ROOT.resolve("adapters").resolve(adapter))) {
      Path target = temporary.resolve("merged");
      AdapterSet set = AdapterSet.of(Peft.DEFAULT_ADAPTER);
      ExportReport report = OnnxExporter.defaults().export(adapted, set, target);
      assertEquals("{default=1.0}", report.adapters());
      assertTrue(adapted.mergedAdapters().isNone());
      long[] row = {5, 9, 31, 7, 44};
      try (NDManager manager = NDManager.newBaseManager("PyTorch");
          OrtPeftModel served = OrtPeftModel.open(target)) {
        NDList inputs = new NDList(manager.create(new long[][] {row}));
        float[] expected = adapted.with(set).forward(inputs).head().toFloatArray();
        float[] given = served.base().forward(List.of(row)).values().iterator().next().values();
        double worst = 0;
        for (int i = 0; i < expected.length; i++) {
          worst = Math.max(worst, Math.abs(expected[i] - given[i]));
        }
        assertTrue(worst < 1e-4, "differs by " + worst);
      }
    }
  }

  @Test
  void nothingIsLeftBeyondTheTolerance() throws Exception {
    try (PretrainedModel model = Golden.model("llama")) {
      Path target = temporary.resolve("out");
      OnnxExporter exact = OnnxExporter.builder().tolerance(0).build();
      PeftException error = assertThrows(PeftException.class, () -> exact.export(model, target));
      assertTrue(error.getMessage().contains("differ by"), error.getMessage());
      try (var left = Files.list(temporary)) {
        assertEquals(List.of(), left.toList());
      }
    }
  }

  @Test
  void whatCannotBeExportedIsRefusedFirst() throws Exception {
    Path full = Files.createDirectory(temporary.resolve("full"));
    Files.createFile(full.resolve("file"));
    try (PretrainedModel model = Golden.model("llama");
        PeftModel adapted =
            PeftModel.load(model, Golden.ROOT.resolve("adapters").resolve("llama-lora"))) {
      OnnxExporter exporter = OnnxExporter.defaults();
      assertThrows(InvalidConfigException.class, () -> exporter.export(model, full));
      Path target = temporary.resolve("out");
      OnnxExporter ready = OnnxExporter.builder().adapterLayers("q_proj").build();
      AdapterSet set = AdapterSet.of(Peft.DEFAULT_ADAPTER);
      assertThrows(InvalidConfigException.class, () -> ready.export(adapted, set, target));
      OnnxExporter unknown = OnnxExporter.builder().adapterLayers("c_attn").build();
      assertThrows(InvalidConfigException.class, () -> unknown.export(model, target));
      adapted.merge(set, true);
      assertThrows(AdapterStateException.class, () -> exporter.export(adapted, set, target));
      assertFalse(Files.exists(target));
      assertThrows(
          InvalidConfigException.class, () -> OnnxExporter.builder().tolerance(-1).build());
      assertThrows(
          InvalidConfigException.class, () -> OnnxExporter.builder().mostInline(-1).build());
    }
  }
}
