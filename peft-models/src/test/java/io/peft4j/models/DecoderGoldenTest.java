package io.peft4j.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.nn.DenseWeight;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.state.SafeTensors;
import io.peft4j.torch.Scopes;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Every decoder and every option of one gives what transformers gives, at all that is no padding.
 */
class DecoderGoldenTest {

  static List<String> decoders() throws IOException {
    try (Stream<Path> models = Files.list(Goldens.directory("."))) {
      return models
          .filter(model -> Files.exists(model.resolve("io_alone.safetensors")))
          .map(model -> model.getFileName().toString())
          .sorted()
          .toList();
    }
  }

  @ParameterizedTest
  @MethodSource("decoders")
  void agreesWithTransformers(String name) {
    Path directory = Goldens.directory(name);
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel model = Goldens.load(directory)) {
      for (String io : List.of("io", "io_left", "io_alone", "io_positions")) {
        Path file = directory.resolve(io + ".safetensors");
        if (Files.exists(file)) {
          agrees(manager, model, file, name + " " + io);
        }
      }
    }
  }

  private static void agrees(NDManager manager, PretrainedModel model, Path file, String what) {
    NDList inputs = Goldens.inputs(manager, file);
    NDArray actual = model.forward(inputs).singletonOrThrow();
    boolean headless = model.architecture().matches(".*(?<!Head)Model");
    assertEquals(headless ? "last_hidden_state" : "logits", actual.getName(), what);
    Shape ids = inputs.head().getShape();
    assertArrayEquals(new Shape[] {actual.getShape()}, model.getOutputShapes(new Shape[] {ids}));
    float[] expected = Goldens.expected(manager, file, actual.getName());
    float[] values = actual.toFloatArray();
    if (actual.getShape().dimension() == 3 && inputs.size() > 1) {
      // What comes out at padding depends on the way of attending.
      long[] mask = inputs.get(1).toLongArray();
      int width = (int) actual.getShape().get(2);
      for (int i = 0; i < mask.length; i++) {
        if (mask[i] == 0) {
          Arrays.fill(expected, i * width, (i + 1) * width, 0);
          Arrays.fill(values, i * width, (i + 1) * width, 0);
        }
      }
    }
    Goldens.assertClose(expected, values, 1e-5, what);
  }

  @Test
  void allFamiliesAndOptionsAreThere() throws IOException {
    assertTrue(decoders().size() >= 25, decoders().toString());
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama-gelu", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gemma3"})
  void aCheckpointTakesANewHeadOrNone(String name) {
    Path directory = Goldens.directory(name);
    LoadOptions classes = LoadOptions.builder().classifier(5).build();
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel classifier = PretrainedModel.load(directory, classes);
        PretrainedModel headless =
            PretrainedModel.load(directory, LoadOptions.builder().headless().build());
        WeightSnapshot weights = classifier.weights().lease()) {
      NDList inputs = Goldens.inputs(manager, directory.resolve("io.safetensors"));
      NDArray logits = classifier.forward(inputs).singletonOrThrow();
      assertEquals(new Shape(3, 5), logits.getShape());
      assertEquals(List.of("score"), List.copyOf(classifier.layout().heads()));
      NDArray hidden = headless.forward(inputs).singletonOrThrow();
      assertEquals("last_hidden_state", hidden.getName());
      // The first row has no padding: its last hidden state is what the classifier sees.
      int score = classifier.layout().parameterIndex("score.weight");
      NDArray weight = weights.weight(score).dense();
      float[] expected =
          hidden.get("0, -1").reshape(1, -1).matMul(weight.transpose()).toFloatArray();
      Goldens.assertClose(expected, logits.get("0").toFloatArray(), 1e-5, name);
    }
  }

  @Test
  void aClassifierFindsTheEndByThePaddingToken() {
    Path directory = Goldens.directory("llama-classifier");
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      float[] whole = classes(manager, directory, true, new long[][] {{7, 9, 11, 0}, {7, 0, 0, 0}});
      float[] first = classes(manager, directory, true, new long[][] {{7, 9, 11}});
      float[] second = classes(manager, directory, true, new long[][] {{7}});
      assertArrayEquals(first, Arrays.copyOf(whole, 3), 1e-5f);
      assertArrayEquals(second, Arrays.copyOfRange(whole, 3, 6), 1e-5f);
      float[] none = classes(manager, directory, true, new long[][] {{0, 0}});
      assertArrayEquals(classes(manager, directory, true, new long[][] {{0}}), none, 1e-5f);
      // Without such a token the last one counts.
      assertArrayEquals(first, classes(manager, directory, false, new long[][] {{7, 9, 11}}), 0);
      float[] padded = classes(manager, directory, false, new long[][] {{7, 9, 11, 0}});
      assertTrue(Math.abs(padded[0] - first[0]) > 1e-3);
      InvalidInputException error =
          assertThrows(
              InvalidInputException.class,
              () -> classes(manager, directory, false, new long[][] {{7, 9}, {7, 9}}));
      assertTrue(error.getMessage().contains("pad_token_id"), error.getMessage());
    }
  }

  private static float[] classes(
      NDManager manager, Path directory, boolean withToken, long[][] rows) {
    ObjectNode config = Goldens.config(directory.getFileName().toString());
    if (!withToken) {
      config.putNull("pad_token_id");
    }
    Map<String, Weight> weights = new HashMap<>();
    try (SafeTensors file = SafeTensors.open(directory.resolve("model.safetensors"))) {
      for (String name : file.names()) {
        weights.put(name, DenseWeight.owning(Scopes.unmanaged(file.float32(manager, name))));
      }
    }
    try (PretrainedModel model = PretrainedModel.of(config, weights)) {
      long[] ids = Arrays.stream(rows).flatMapToLong(Arrays::stream).toArray();
      NDArray input = manager.create(ids, new Shape(rows.length, rows[0].length));
      return model.forward(new NDList(input)).head().toFloatArray();
    }
  }
}
