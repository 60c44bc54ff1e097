package io.peft4j.models;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.state.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a configuration asks for is done or refused by name, never ignored. */
class HostileConfigTest {

  private static ObjectNode changed(String model, String key, String value) {
    ObjectNode config = Goldens.config(model);
    config.set(key, Json.parse(value.replace('\'', '"'), "test"));
    return config;
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "bert | position_embedding_type | 'relative_key'",
        "bert | is_decoder | true",
        "bert | add_cross_attention | true",
        "bert | hidden_act | 'relu'",
        "bert | hidden_act | 3",
        "bert | pruned_heads | {'0': [1]}",
        "bert | num_attention_heads | 5",
        "bert | num_attention_heads | 0",
        "bert | num_hidden_layers | 1000000000",
        "bert | num_hidden_layers | 2.5",
        "bert | hidden_size | -32",
        "bert | hidden_size | 'many'",
        "bert | hidden_size | 99999999999999999999",
        "bert | vocab_size | []",
        "bert | layer_norm_eps | -1",
        "bert | hidden_dropout_prob | 1.0",
        "bert-classifier | id2label | {}",
        "bert-classifier | id2label | 3",
        "roberta | pad_token_id | 64",
        "llama | hidden_act | 'mish'",
        "llama | rope_scaling | {'type': 'linear'}",
        "llama | rope_scaling | {'type': 'linear', 'factor': -2.0}",
        "llama | rope_scaling | {'type': 'ntk', 'factor': 2.0}",
        "llama | rope_scaling | {'type': 'dynamic', 'factor': 'much'}",
        "llama | rope_scaling | {'type': 'mrope', 'mrope_section': [1, 1, 2]}",
        "llama | rope_parameters | {'rope_type': 'default', 'mrope_section': [1, 1, 2]}",
        "llama | rope_parameters | {'rope_type': 'yarn', 'factor': 4.0, 'rope_theta': 1.0}",
        "llama | rope_parameters | {'rope_type': 'llama3', 'factor': 8, 'low_freq_factor': 4, 'high_freq_factor': 4}",
        "llama | rope_parameters | {'rope_type': 'longrope', 'short_factor': [1], 'long_factor': [1]}",
        "llama-classifier | pad_token_id | 'end'",
        "mistral | sliding_window | 0",
        "mistral | layer_types | ['full_attention', 'sliding_attention']",
        "mistral | mlp_bias | true",
        "qwen2 | layer_types | ['full_attention', 'sliding_attention']",
        "qwen2 | max_window_layers | -1",
        "qwen3-window | layer_types | ['full_attention']",
        "qwen3-window | layer_types | ['full_attention', 'chunked_attention']",
        "phi3 | rope_parameters | {'partial_rotary_factor': 0.1}",
        "phi3 | rope_parameters | {'partial_rotary_factor': 1.5}",
        "phi3-longrope | rope_parameters | {'rope_type': 'longrope', 'short_factor': [1, 'x'], 'long_factor': [1, 1]}",
        "phi3-longrope | rope_parameters | {'rope_type': 'llama3'}",
        "gemma2 | sliding_window | null",
        "gemma2 | use_bidirectional_attention | true",
        "gpt2 | add_cross_attention | true",
        "gpt2 | n_head | 5",
        "gpt2 | activation_function | 'mish'",
        "gemma2 | hidden_activation | 'mish'",
        "gemma2 | attn_logit_softcapping | -1",
        "gemma2 | query_pre_attn_scalar | 0",
        "gemma3 | attn_logit_softcapping | 50.0",
        "gemma3 | partial_rotary_factor | 0.5",
        "gemma3 | rope_parameters | {'rope_type': 'default', 'rope_theta': 10000}",
        "gemma3 | rope_parameters | {'full_attention': {'rope_type': 'none'}}",
        "llama | rope_parameters | {'rope_type': 'llama3', 'rope_theta': 500000.0}",
        "llama | rope_parameters | {'rope_type': 'default', 'partial_rotary_factor': 0.5}",
        "llama | rope_parameters | {'rope_type': 'default', 'rope_theta': 0}",
        "llama | rope_parameters | 'yes'",
        "llama | partial_rotary_factor | 0.5",
        "llama | num_key_value_heads | 3",
        "llama | head_dim | 7",
        "llama | attention_bias | 'no'",
      })
  void isRefusedByName(String model, String key, String value) {
    InvalidConfigException error =
        assertThrows(
            InvalidConfigException.class, () -> PretrainedModel.layout(changed(model, key, value)));

    String name = value.contains("partial") ? "partial" : key;
    assertTrue(error.getMessage().contains(name), error.getMessage());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "['BertForMaskedLM'] | 'bert' | BertForMaskedLM",
        "['GPTNeoXForCausalLM'] | 'gpt_neox' | GPTNeoXForCausalLM",
        "['LlamaForCausalLM'] | 'mistral' | mistral",
        "null | 'mamba' | mamba",
        "null | null | model_type is missing",
        "[] | 7 | model_type is missing",
      })
  void anUnknownArchitectureIsNamed(String architectures, String type, String expected) {
    ObjectNode config = changed("bert", "architectures", architectures);
    config.set("model_type", Json.parse(type.replace('\'', '"'), "test"));

    InvalidConfigException error =
        assertThrows(InvalidConfigException.class, () -> PretrainedModel.layout(config));

    assertTrue(error.getMessage().contains(expected), error.getMessage());
    assertTrue(error.getMessage().contains("LlamaForCausalLM"), error.getMessage());
  }

  @Test
  void keysOfTransformers4And5MeanTheSame() {
    ObjectNode old = Goldens.config("llama");
    old.remove("rope_parameters");
    old.put("rope_theta", 10000.0);
    old.putNull("rope_scaling");
    old.put("torch_dtype", "float32");
    old.remove("dtype");

    assertEquals(
        PretrainedModel.layout(Goldens.config("llama")).parameters(),
        PretrainedModel.layout(old).parameters());
  }

  @Test
  void labelsGiveTheSizeOfTheHead() {
    ObjectNode config = changed("bert-classifier", "id2label", "{'0': 'a', '1': 'b'}");

    assertEquals(2, PretrainedModel.layout(config).parameters().get("classifier.weight").get(0));
  }

  /** This module is tested without the one that knows 4 bits. */
  @Test
  void aStorageThatIsMissingIsNamed() {
    Path directory = Path.of(System.getProperty("peft4j.golden"), "quantization", "llama-nf4-dq");
    InvalidConfigException refused =
        assertThrows(InvalidConfigException.class, () -> PretrainedModel.load(directory));
    assertTrue(refused.getMessage().contains("peft-qlora"), refused.getMessage());
  }

  @Test
  void unknownStoragesAreRefused(@TempDir Path directory) throws IOException {
    for (String settings : List.of("{\"quant_method\": \"gptq\"}", "{}", "4")) {
      Files.writeString(
          directory.resolve("config.json"),
          "{\"model_type\": \"bert\", \"quantization_config\": " + settings + "}");
      InvalidConfigException refused =
          assertThrows(InvalidConfigException.class, () -> PretrainedModel.load(directory));
      assertTrue(refused.getMessage().contains("quantization_config"), refused.getMessage());
    }
  }
}
