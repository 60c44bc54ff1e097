package io.peft4j.onnx;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.models.PretrainedModel;
import io.peft4j.onnx.graph.WeightFormat;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every tiny model of every family, exported in every way: the export itself compares answers. */
final class ExportTest {
  @TempDir private Path temporary;

  static List<String> models() throws IOException {
    try (Stream<Path> paths = Files.list(Golden.ROOT.resolve("models"))) {
      return paths.map(path -> path.getFileName().toString()).sorted().toList();
    }
  }

  @ParameterizedTest
  @MethodSource("models")
  void exportedModelsAnswerAlike(String name) {
    try (PretrainedModel model = Golden.model(name)) {
      for (WeightFormat format : WeightFormat.values()) {
        OnnxExporter exporter =
            OnnxExporter.builder().weights(format).tolerance(2e-5).mostInline(1000).build();
        ExportReport report = exporter.export(model, temporary.resolve(format.name()));
        assertTrue(report.values() > 0 && Files.isRegularFile(report.model()));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("models")
  void graphsTakeAdapters(String name) {
    try (PretrainedModel model = Golden.model(name)) {
      OnnxExporter exporter = OnnxExporter.builder().tolerance(2e-5).adapterLayers().build();
      ExportReport report = exporter.export(model, temporary.resolve("ready"));
      assertTrue(report.adapterLayers().size() >= 4);
    }
  }
}
