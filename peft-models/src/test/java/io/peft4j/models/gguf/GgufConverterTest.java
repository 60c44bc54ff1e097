package io.peft4j.models.gguf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.SaveOptions;
import io.peft4j.models.Tokenizer;
import io.peft4j.state.Checkpoint;
import io.peft4j.state.Json;
import io.peft4j.state.TensorType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Directories that are the model again. */
final class GgufConverterTest {
  private static final Path LLAMA = GgufFileTest.GOLDEN.resolve("llama.gguf");

  @TempDir private Path temporary;

  private static float[] logits(Path model) {
    try (NDManager manager = NDManager.newBaseManager();
        PretrainedModel loaded = Exact.load(model)) {
      NDArray ids = manager.create(new long[][] {{5, 9, 200, 300, 7}});
      ids.setName("input_ids");
      return loaded.forward(new NDList(ids)).head().toFloatArray();
    }
  }

  private static List<String> names(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }

  @Test
  void theDirectoryIsTheSameModel() throws IOException {
    Path out = temporary.resolve("deep").resolve("out");
    GgufConverter.convert(LLAMA, out, SaveOptions.defaults());
    assertEquals(
        List.of(
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json"),
        names(out));
    assertEquals(List.of("out"), names(temporary.resolve("deep")));
    assertArrayEquals(logits(LLAMA), logits(out));
    ObjectNode generation = Json.readObject(out.resolve("generation_config.json"));
    try (Tokenizer fromFile = Tokenizer.load(LLAMA);
        Tokenizer fromDirectory = Tokenizer.load(out)) {
      String text = "The quick brown <|im_end|> 2024\n\n1. naïve";
      assertArrayEquals(fromFile.ids(text, true), fromDirectory.ids(text, true));
      assertEquals(fromFile.paddingId(), fromDirectory.paddingId());
      assertArrayEquals(
          new long[] {generation.get("eos_token_id").longValue()},
          fromFile.ids("<|im_end|>", false));
    }
  }

  @Test
  void typesAndShardsAreAsAsked() {
    Path out = temporary.resolve("out");
    SaveOptions options = SaveOptions.builder().type(TensorType.BF16).maxShardSize(20_000).build();
    GgufConverter.convert(LLAMA, out, options);
    try (Checkpoint checkpoint = Checkpoint.open(out)) {
      assertTrue(checkpoint.files().size() > 1);
      checkpoint.names().forEach(n -> assertEquals(TensorType.BF16, checkpoint.info(n).type()));
    }
    assertEquals("bfloat16", Json.readObject(out.resolve("config.json")).get("dtype").textValue());
  }

  @Test
  void aModelOfAFileSavesItsTokenizerToo() throws IOException {
    Path out = temporary.resolve("saved");
    try (PretrainedModel model = Exact.load(LLAMA)) {
      assertEquals(LLAMA, model.directory().orElseThrow());
      model.save(out);
    }
    assertTrue(names(out).containsAll(List.of("tokenizer.json", "generation_config.json")));
    assertArrayEquals(logits(LLAMA), logits(out));
  }

  @Test
  void nothingIsLeftBehindOrOverwritten() throws IOException {
    Path full = Files.createDirectory(temporary.resolve("full"));
    Files.writeString(full.resolve("mine.txt"), "mine");
    Path file = full.resolve("mine.txt");
    SaveOptions options = SaveOptions.defaults();
    for (Path target : List.of(full, file)) {
      assertThrows(
          InvalidConfigException.class, () -> GgufConverter.convert(LLAMA, target, options));
    }
    assertEquals(List.of("mine.txt"), names(full));
    Path out = temporary.resolve("out");
    Path odd =
        GgufBuilder.llama()
            .string("tokenizer.ggml.model", "gpt2")
            .strings("tokenizer.ggml.tokens", "a")
            .write(temporary.resolve("odd.gguf"));
    assertThrows(MalformedFileException.class, () -> GgufConverter.convert(odd, out, options));
    assertFalse(Files.exists(out));
    assertEquals(List.of("full", "odd.gguf"), names(temporary));
  }

  @Test
  void aFileWithoutTokenizerGivesADirectoryWithoutOne() throws IOException {
    Path file = GgufBuilder.llama().write(temporary.resolve("bare.gguf"));
    Path out = Files.createDirectory(temporary.resolve("empty"));
    GgufConverter.convert(file, out, SaveOptions.defaults());
    assertEquals(List.of("config.json", "model.safetensors"), names(out));
  }
}
