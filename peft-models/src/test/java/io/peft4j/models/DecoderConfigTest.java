package io.peft4j.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.state.Json;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What decoders do with other keys and names than those of the golden files. */
class DecoderConfigTest {
  @TempDir Path directory;
  private NDManager manager;

  @BeforeEach
  void open() {
    manager = NDManager.newBaseManager("PyTorch");
  }

  @AfterEach
  void close() {
    manager.close();
  }

  private Path changed(
      String model, Consumer<ObjectNode> keys, Consumer<Map<String, NDArray>> change)
      throws IOException {
    ObjectNode config = Goldens.config(model);
    keys.accept(config);
    return Goldens.changed(directory, model, config, change);
  }

  private NDList inputs(String model) {
    return Goldens.inputs(manager, Goldens.directory(model).resolve("io.safetensors"));
  }

  private float[] run(String inputs, Path directory) {
    try (PretrainedModel model = Goldens.load(directory)) {
      return model.forward(inputs(inputs)).head().toFloatArray();
    }
  }

  private float[] golden(String model) {
    return run(model, Goldens.directory(model));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "llama | is_encoder_decoder | true",
        "mistral | layer_types | ['sliding_attention', 'full_attention']",
        "mistral | sliding_window | 0",
        "mistral | num_key_value_heads | 3",
        "qwen2 | layer_types | ['full_attention']",
        "qwen2 | layer_types | ['full_attention', 'chunked_attention']",
        "qwen3 | max_window_layers | 'all'",
        "qwen3 | head_dim | 7",
        "qwen3-window | sliding_window | null",
        "gemma2 | use_bidirectional_attention | true",
        "gemma2 | hidden_activation | 'xielu'",
        "gemma2 | attn_logit_softcapping | -50.0",
        "gemma2 | query_pre_attn_scalar | 0",
        "gemma2 | sliding_window | null",
        "gemma3 | use_bidirectional_attention | true",
        "gemma3 | attn_logit_softcapping | 50.0",
        "gemma3 | rope_parameters | {'rope_type': 'linear', 'factor': 2.0}",
        "gemma3 | layer_types | 'sliding_attention'",
        "phi3 | rope_scaling | {'type': 'linear', 'factor': 2.0}",
        "phi3 | rope_scaling | {'type': 'su', 'short_factor': [1], 'long_factor': [1]}",
        "phi3 | rope_scaling | {'type': 'default', 'partial_rotary_factor': 1.5}",
        "phi3 | resid_pdrop | 1.0",
        "gpt2 | add_cross_attention | true",
        "gpt2 | activation_function | 'mish'",
        "gpt2 | n_head | 3",
        "gpt2 | n_inner | 0",
      })
  void whatIsWrongOrNotImplementedIsNamed(String model, String key, String value) {
    ObjectNode config = Goldens.config(model);
    config.set(key, Json.parse(value.replace('\'', '"'), "test"));

    InvalidConfigException error =
        assertThrows(InvalidConfigException.class, () -> PretrainedModel.layout(config));

    assertTrue(error.getMessage().contains(key), error.getMessage());
  }

  @Test
  void windowsOfQwenBeginAtALayer() throws IOException {
    Path old = changed("qwen2-window", config -> config.remove("layer_types"), tensors -> {});
    assertArrayEquals(golden("qwen2-window"), run("qwen2-window", old));

    Path all =
        changed(
            "qwen2-window",
            config -> config.remove(List.of("layer_types", "use_sliding_window")),
            tensors -> {});
    assertFalse(Arrays.equals(golden("qwen2-window"), run("qwen2-window", all)));
  }

  @Test
  void nullIsNoWindowAndAnAbsentKeyALongOne() throws IOException {
    float[] none =
        run("mistral", changed("mistral", config -> config.putNull("sliding_window"), t -> {}));
    float[] absent =
        run("mistral", changed("mistral", config -> config.remove("sliding_window"), t -> {}));

    assertArrayEquals(none, absent);
    assertFalse(Arrays.equals(golden("mistral"), none));
  }

  @Test
  void nullIsNoBoundAndAnAbsentKeyTheUsualOne() throws IOException {
    float[] none =
        run(
            "gemma2",
            changed("gemma2", config -> config.putNull("final_logit_softcapping"), t -> {}));
    float[] absent =
        run(
            "gemma2",
            changed("gemma2", config -> config.remove("final_logit_softcapping"), t -> {}));

    for (int i = 0; i < none.length; i++) {
      assertEquals(30 * Math.tanh(none[i] / 30), absent[i], 1e-5);
    }
  }

  @Test
  void savedBuffersChangeNothing() throws IOException {
    Path llama =
        changed(
            "llama-classifier",
            config -> {},
            tensors ->
                tensors.put(
                    "model.layers.0.self_attn.rotary_emb.inv_freq", manager.ones(new Shape(2))));
    assertArrayEquals(golden("llama-classifier"), run("llama-classifier", llama));

    // As in the first checkpoints: no prefix, and the mask in each layer.
    Path gpt2 =
        changed(
            "gpt2",
            config -> {},
            tensors -> {
              for (String name : List.copyOf(tensors.keySet())) {
                tensors.put(name.substring("transformer.".length()), tensors.remove(name));
              }
              tensors.put("h.0.attn.bias", manager.ones(new Shape(1, 1, 64, 64)));
              tensors.put("h.1.attn.masked_bias", manager.ones(new Shape(1)));
            });
    assertArrayEquals(golden("gpt2"), run("gpt2", gpt2));
  }

  @ParameterizedTest
  @CsvSource({"llama-classifier", "gpt2-classifier"})
  void severalRowsNeedATokenForPadding(String name) throws IOException {
    Path path = changed(name, config -> config.putNull("pad_token_id"), tensors -> {});
    try (PretrainedModel model = Goldens.load(path);
        PretrainedModel padded = Goldens.load(Goldens.directory(name))) {
      NDList inputs = inputs(name);
      InvalidInputException error =
          assertThrows(InvalidInputException.class, () -> model.forward(inputs));
      assertTrue(error.getMessage().contains("pad_token_id"), error.getMessage());

      LoadOptions options = LoadOptions.builder().paddingToken(0).build();
      try (PretrainedModel told = PretrainedModel.load(path, options)) {
        assertArrayEquals(golden(name), told.forward(inputs).head().toFloatArray());
      }

      // The first row is not padded: its last token is the last one that is not padding.
      NDArray row = inputs.head().get("0:1");
      assertArrayEquals(
          padded.forward(new NDList(row)).head().toFloatArray(),
          model.forward(new NDList(row)).head().toFloatArray());
    }
  }

  @ParameterizedTest
  @CsvSource({"mistral", "gpt2"})
  void thereMayBeNoPaddingAsOldConversionsSayIt(String name) throws IOException {
    Path path = changed(name, config -> config.put("pad_token_id", -1), tensors -> {});

    assertArrayEquals(golden(name), run(name, path));
  }

  @Test
  void positionsReachAsFarAsTheScalingIsMeantFor() {
    assertEquals(24, limit("llama-dynamic"));
    assertEquals(160, limit("llama-linear"));
    assertEquals(64, limit("llama-llama3"));
    assertEquals(64, limit("gpt2"));
  }

  private static int limit(String name) {
    try (PretrainedModel model = Goldens.load(Goldens.directory(name))) {
      return model.network().limits().longest();
    }
  }
}
