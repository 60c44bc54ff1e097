package io.peft4j.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import java.nio.file.Path;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Every golden model gives what transformers gives for the same inputs, at padding too. */
class GoldenModelTest {

  @ParameterizedTest
  @CsvSource({
    "bert, io, last_hidden_state pooler_output",
    "bert, io_types, last_hidden_state pooler_output",
    "bert-classifier, io, logits",
    "bert-classifier, io_types, logits",
    "roberta, io, last_hidden_state pooler_output",
    "roberta-classifier, io, logits",
    "bert-tokens, io, logits",
    "bert-tokens, io_left, logits",
    "bert-answers, io, start_logits end_logits",
    "bert-answers, io_left, start_logits end_logits",
    "roberta-tokens, io, logits",
    "roberta-tokens, io_left, logits",
    "roberta-answers, io, start_logits end_logits",
    "roberta-answers, io_left, start_logits end_logits",
    "llama, io, logits",
    "llama, io_left, logits",
    "llama-tied, io, logits",
    "llama-tied, io_left, logits",
    "llama-f16, io, logits",
    "llama-f16, io_left, logits"
  })
  void agreesWithTransformers(String name, String io, String outputs) {
    Path directory = Goldens.directory(name);
    Path file = directory.resolve(io + ".safetensors");
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel model = Goldens.load(directory)) {
      NDList inputs = Goldens.inputs(manager, file);
      NDList actual = model.forward(inputs);

      assertArrayEquals(
          outputs.split(" "), actual.stream().map(NDArray::getName).toArray(String[]::new));
      for (NDArray output : actual) {
        assertEquals(manager, output.getManager());
        float[] expected = Goldens.expected(manager, file, output.getName());
        Goldens.assertClose(expected, output.toFloatArray(), 1e-5, output.getName());
      }
      assertArrayEquals(
          actual.getShapes(), model.getOutputShapes(new Shape[] {inputs.head().getShape()}));
    }
  }
}
