package io.peft4j.onnx;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import io.peft4j.InvalidConfigException;
import io.peft4j.models.InvalidInputException;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Texts that are classified and embedded by exported encoders. */
final class EncoderTest {
  private static final List<String> TEXTS = List.of("the cat", "a", "one more text here");

  @TempDir private Path temporary;

  private Path export(PretrainedModel model) throws IOException {
    Path target = temporary.resolve("out");
    OnnxExporter.defaults().export(model, target);
    Path files = Golden.ROOT.resolve("generation").resolve("tokenizer");
    for (String name : List.of("tokenizer.json", "tokenizer_config.json")) {
      Files.copy(files.resolve(name), target.resolve(name));
    }
    return target;
  }

  /** The first output for one text alone. */
  private static float[] alone(PretrainedModel model, Tokenizer tokenizer, String text) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      long[][] ids = {tokenizer.ids(text, true)};
      return model.forward(new NDList(manager.create(ids))).head().toFloatArray();
    }
  }

  @Test
  void textsAreClassified() throws IOException {
    try (PretrainedModel model = Golden.model("bert-classifier");
        OrtPeftModel served = OrtPeftModel.open(export(model))) {
      float[][] given = served.base().classify(TEXTS);
      assertEquals(TEXTS.size(), given.length);
      for (int i = 0; i < given.length; i++) {
        float[] logits = alone(model, served.tokenizer(), TEXTS.get(i));
        double sum = 0;
        for (float logit : logits) {
          sum += Math.exp(logit);
        }
        for (int j = 0; j < logits.length; j++) {
          assertEquals(Math.exp(logits[j]) / sum, given[i][j], 1e-5);
        }
      }
      assertThrows(InvalidConfigException.class, () -> served.base().embed(TEXTS));
      assertThrows(
          InvalidInputException.class, () -> served.base().generator().generate("the cat"));
    }
  }

  @Test
  void textsAreEmbedded() throws IOException {
    try (PretrainedModel model = Golden.model("bert");
        OrtPeftModel served = OrtPeftModel.open(export(model))) {
      float[][] given = served.base().embed(TEXTS);
      for (int i = 0; i < given.length; i++) {
        float[] states = alone(model, served.tokenizer(), TEXTS.get(i));
        float[] mean = new float[given[i].length];
        for (int j = 0; j < states.length; j++) {
          mean[j % mean.length] += states[j];
        }
        double length = 0;
        for (float value : mean) {
          length += (double) value * value;
        }
        for (int j = 0; j < mean.length; j++) {
          mean[j] /= (float) Math.sqrt(length);
        }
        assertArrayEquals(mean, given[i], 1e-5f);
      }
      assertThrows(InvalidConfigException.class, () -> served.base().classify(TEXTS));
    }
  }
}
