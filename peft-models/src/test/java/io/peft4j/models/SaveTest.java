package io.peft4j.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import io.peft4j.nn.DenseWeight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.nn.WeightStore;
import io.peft4j.state.Checkpoint;
import io.peft4j.state.Json;
import io.peft4j.state.TensorType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A saved model is the model. */
class SaveTest {
  @TempDir Path target;

  private static NDList run(NDManager manager, PretrainedModel model, String golden) {
    return model.forward(
        Goldens.inputs(manager, Goldens.directory(golden).resolve("io.safetensors")));
  }

  @ParameterizedTest
  @CsvSource({
    "bert, F32",
    "bert-classifier, F32",
    "roberta-classifier, F32",
    "llama, F32",
    "llama-tied, BF16",
    "llama-f16, F16"
  })
  void reloadsBitForBitInItsOwnType(String name, TensorType type) throws IOException {
    Path source = Goldens.directory(name);
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel model = Goldens.load(source)) {
      model.save(target, SaveOptions.builder().type(type).build());
      try (PretrainedModel again = Goldens.load(target)) {
        Goldens.assertSame(run(manager, model, name), run(manager, again, name));
        assertEquals(model.config(), again.config());
      }
      // Python would have written the very same configuration and tensors.
      assertEquals(
          Files.readString(source.resolve("config.json")),
          Files.readString(target.resolve("config.json")));
      if (Files.exists(source.resolve("model.safetensors"))) {
        assertArrayEquals(
            Files.readAllBytes(source.resolve("model.safetensors")),
            Files.readAllBytes(target.resolve("model.safetensors")));
      }
    }
  }

  @Test
  void shardsAreThoseOfTransformers() throws IOException {
    Path source = Goldens.directory("llama-tied");
    try (PretrainedModel model = Goldens.load(source)) {
      model.save(target, SaveOptions.builder().type(TensorType.BF16).maxShardSize(40_000).build());
    }
    for (String file :
        new String[] {
          "model-00001-of-00002.safetensors",
          "model-00002-of-00002.safetensors",
          "model.safetensors.index.json",
          "generation_config.json"
        }) {
      assertArrayEquals(
          Files.readAllBytes(source.resolve(file)), Files.readAllBytes(target.resolve(file)), file);
    }
  }

  @Test
  void savingOverItselfKeepsTheModelAlive() throws IOException {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel first = Goldens.load(Goldens.directory("bert"))) {
      first.save(target);
      Files.writeString(target.resolve("vocab.txt"), "[PAD]\n");
      try (PretrainedModel model = Goldens.load(target)) {
        model.save(target, SaveOptions.builder().maxShardSize(20_000).build());
        Goldens.assertSame(run(manager, first, "bert"), run(manager, model, "bert"));
        assertTrue(Files.exists(target.resolve("vocab.txt")));
        assertFalse(Files.exists(target.resolve("model.safetensors")));
      }
      try (PretrainedModel sharded = Goldens.load(target)) {
        Goldens.assertSame(run(manager, first, "bert"), run(manager, sharded, "bert"));
      }
    }
  }

  @Test
  void replacedWeightsAreSavedAndUntieWhatTheyNoLongerShare() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel model = Goldens.load(Goldens.directory("llama-tied"))) {
      int head = model.layout().parameterIndex("lm_head.weight");
      NDArray doubled;
      try (WeightSnapshot weights = model.weights().lease()) {
        doubled = weights.weight(head).dense().mul(2);
      }
      WeightStore.Replacement merge =
          model.weights().replace(Map.of(head, DenseWeight.owning(doubled)));
      NDList expected = run(manager, model, "llama-tied");
      model.save(target);
      merge.undo();

      assertFalse(
          Json.readObject(target.resolve("config.json")).get("tie_word_embeddings").asBoolean());
      try (PretrainedModel again = Goldens.load(target)) {
        Goldens.assertSame(expected, run(manager, again, "llama-tied"));
      }
      model.save(target);
      try (Checkpoint checkpoint = Checkpoint.open(target)) {
        assertFalse(checkpoint.contains("lm_head.weight"));
      }
    }
  }
}
