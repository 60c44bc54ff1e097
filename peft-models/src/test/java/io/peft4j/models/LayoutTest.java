package io.peft4j.models;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.state.Checkpoint;
import io.peft4j.state.Json;
import io.peft4j.target.ModelLayout;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Names, order, shapes and counts come from the configuration alone and are transformers'. */
class LayoutTest {
  private static final String LLAMA_2_7B =
      """
      {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
       "hidden_size": 4096, "intermediate_size": 11008, "max_position_embeddings": 4096,
       "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32,
       "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null,
       "tie_word_embeddings": false, "torch_dtype": "float16", "vocab_size": 32000}
      """;

  private static ModelLayout layout(String json) {
    return PretrainedModel.layout((ObjectNode) Json.parse(json, "test"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "bert",
        "bert-classifier",
        "roberta",
        "roberta-classifier",
        "llama",
        "llama-tied",
        "llama-f16"
      })
  void namesAndShapesAreThoseOfTheCheckpoint(String model) {
    ModelLayout layout = PretrainedModel.layout(Goldens.config(model));
    try (Checkpoint checkpoint = Checkpoint.open(Goldens.directory(model))) {
      assertEquals(new HashSet<>(checkpoint.names()), layout.parameters().keySet());
      for (String name : checkpoint.names()) {
        assertEquals(checkpoint.info(name).shape(), layout.parameters().get(name), name);
      }
    }
  }

  private static List<String> both(String... paths) {
    List<String> names = new ArrayList<>();
    for (String path : paths) {
      names.add(path + ".weight");
      names.add(path + ".bias");
    }
    return names;
  }

  private static List<String> bertLayer(String path) {
    return both(
        path + ".attention.self.query",
        path + ".attention.self.key",
        path + ".attention.self.value",
        path + ".attention.output.dense",
        path + ".attention.output.LayerNorm",
        path + ".intermediate.dense",
        path + ".output.dense",
        path + ".output.LayerNorm");
  }

  @Test
  void bertIsInTransformersOrder() {
    List<String> expected =
        new ArrayList<>(
            List.of(
                "bert.embeddings.word_embeddings.weight",
                "bert.embeddings.position_embeddings.weight",
                "bert.embeddings.token_type_embeddings.weight"));
    expected.addAll(both("bert.embeddings.LayerNorm"));
    expected.addAll(bertLayer("bert.encoder.layer.0"));
    expected.addAll(bertLayer("bert.encoder.layer.1"));
    expected.addAll(both("bert.pooler.dense", "classifier"));
    ModelLayout layout = PretrainedModel.layout(Goldens.config("bert-classifier"));

    assertEquals(expected, layout.parameterNames());
    assertEquals(Set.of("classifier"), layout.heads());
    assertEquals(23_619, layout.parameterCount());
  }

  @Test
  void robertaIsInTransformersOrder() {
    List<String> expected =
        new ArrayList<>(
            List.of(
                "roberta.embeddings.word_embeddings.weight",
                "roberta.embeddings.token_type_embeddings.weight"));
    expected.addAll(both("roberta.embeddings.LayerNorm"));
    expected.add("roberta.embeddings.position_embeddings.weight");
    expected.addAll(bertLayer("roberta.encoder.layer.0"));
    expected.addAll(bertLayer("roberta.encoder.layer.1"));
    expected.addAll(both("classifier.dense", "classifier.out_proj"));
    ModelLayout layout = PretrainedModel.layout(Goldens.config("roberta-classifier"));

    assertEquals(expected, layout.parameterNames());
    assertEquals(23_587, layout.parameterCount());
    assertEquals(23_488, PretrainedModel.layout(Goldens.config("roberta")).parameterCount());
  }

  @Test
  void llamaIsInTransformersOrder() {
    List<String> expected = new ArrayList<>(List.of("model.embed_tokens.weight"));
    for (int i = 0; i < 2; i++) {
      String path = "model.layers." + i;
      expected.addAll(
          both(
              path + ".self_attn.q_proj",
              path + ".self_attn.k_proj",
              path + ".self_attn.v_proj",
              path + ".self_attn.o_proj",
              path + ".mlp.gate_proj",
              path + ".mlp.up_proj",
              path + ".mlp.down_proj"));
      expected.add(path + ".input_layernorm.weight");
      expected.add(path + ".post_attention_layernorm.weight");
    }
    expected.add("model.norm.weight");
    ModelLayout layout = PretrainedModel.layout(Goldens.config("llama-tied"));

    assertEquals(expected, List.copyOf(layout.parameters().keySet()));
    assertEquals("model.embed_tokens.weight", layout.tied().get("lm_head.weight"));
    assertEquals("lm_head", layout.outputLayer().orElseThrow());
    assertEquals(28_576, layout.parameterCount());
  }

  @Test
  void countsTheParametersOfKnownModels() {
    assertEquals(6_738_415_616L, layout(LLAMA_2_7B).parameterCount());
    // bert-base-uncased without a head.
    assertEquals(109_482_240, layout("{\"model_type\": \"bert\"}").parameterCount());
    // Llama 3 70B: fewer key and value heads.
    assertEquals(
        70_553_706_496L,
        layout(
                LLAMA_2_7B
                    .replace("\"hidden_size\": 4096", "\"hidden_size\": 8192")
                    .replace("11008", "28672")
                    .replace("\"num_attention_heads\": 32", "\"num_attention_heads\": 64")
                    .replace("\"num_hidden_layers\": 32", "\"num_hidden_layers\": 80")
                    .replace("\"num_key_value_heads\": 32", "\"num_key_value_heads\": 8")
                    .replace("32000", "128256"))
            .parameterCount());
  }

  @Test
  void headlessLlamaHasNoPrefix() {
    ModelLayout layout = layout(LLAMA_2_7B.replace("LlamaForCausalLM", "LlamaModel"));

    assertTrue(layout.outputLayer().isEmpty());
    assertEquals(
        new Shape(4096, 4096), layout.parameters().get("layers.31.self_attn.o_proj.weight"));
  }
}
