package io.peft4j.onnx;

import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.torch.Precision;
import java.nio.file.Path;

/** The files that transformers and PEFT made, see tools/oracle. */
final class Golden {
  static final Path ROOT = Path.of(System.getProperty("peft4j.golden"));

  private Golden() {}

  static Path path(String model) {
    return ROOT.resolve("models").resolve(model);
  }

  static PretrainedModel model(String name) {
    return PretrainedModel.load(
        path(name), LoadOptions.builder().precision(Precision.FLOAT32).build());
  }
}
