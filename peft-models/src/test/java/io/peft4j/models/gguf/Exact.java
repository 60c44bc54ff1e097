package io.peft4j.models.gguf;

import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.torch.Precision;
import java.nio.file.Path;

/** Models computed in float32, as the figures that they are compared with. */
final class Exact {
  private Exact() {}

  static PretrainedModel load(Path path) {
    return PretrainedModel.load(path, LoadOptions.builder().precision(Precision.FLOAT32).build());
  }
}
