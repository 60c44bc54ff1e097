package io.peft4j.models.gguf;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.function.LongPredicate;

/**
 * The configuration of each family: which key of the metadata is which of Hugging Face, and what
 * llama.cpp takes for granted.
 */
final class DecoderSettings {
  private static final String FIRST = "blk.0.";

  private DecoderSettings() {}

  /** Llama, SmolLM, and Mistral, which is called llama as well. */
  static void llama(ConfigReader reader) {
    long head = common(reader, "silu");
    long rotary = reader.size("rope.dimension_count", head);
    if (!reader.file().metadata().keys().contains("llama.attention.key_length")) {
      head = rotary;
    }
    if (rotary != head) {
      throw reader.refused(
          "a rotary embedding of "
              + rotary
              + " of a head's "
              + head
              + " values is not implemented");
    }
    biases(reader, head);
    reader.config().put("mlp_bias", reader.has(FIRST + "ffn_up.bias"));
    RopeScaling.put(reader, head);
    long window = reader.sizeOrNone("attention.sliding_window");
    if (window > 0) {
      reader.config().put("model_type", "mistral");
      reader.config().putArray("architectures").add("MistralForCausalLM");
      reader.config().put("sliding_window", window);
    }
  }

  static void qwen2(ConfigReader reader) {
    long head = common(reader, "silu");
    wholeHead(reader, head);
    usualHead(reader, head);
    RopeScaling.put(reader, head);
  }

  static void qwen3(ConfigReader reader) {
    long head = common(reader, "silu");
    wholeHead(reader, head);
    biases(reader, head);
    RopeScaling.put(reader, head);
  }

  static void gemma2(ConfigReader reader) {
    gemma(reader, 46, layer -> layer % 2 == 0, 4096);
    reader.put("attn_logit_softcapping", reader.positive("attn_logit_softcapping"));
  }

  static void gemma3(ConfigReader reader) {
    long pattern = reader.size("attention.sliding_window_pattern", 6);
    gemma(reader, 62, layer -> (layer + 1) % pattern != 0, 0);
    ObjectNode config = reader.config();
    if (!config.has("rope_theta")) {
      config.put("rope_theta", 1_000_000.0);
    }
    config.put("rope_local_base_freq", reader.positive("rope.freq_base_swa").orElse(10000));
    config.putNull("attn_logit_softcapping");
  }

  /**
   * What both have in common.
   *
   * @param largest the layers of the family's model of 27 billion parameters, the only one that
   *     scales attention by the hidden size; files do not say so
   * @param slides which layers see a window only
   * @param absentWindow the window where the file names none; 0 for none
   */
  private static void gemma(
      ConfigReader reader, long largest, LongPredicate slides, long absentWindow) {
    long head = common(reader, "gelu_pytorch_tanh");
    wholeHead(reader, head);
    biases(reader, head);
    ObjectNode config = reader.config();
    config.put("hidden_activation", "gelu_pytorch_tanh");
    config.remove("hidden_act");
    long layers = config.get("num_hidden_layers").longValue();
    long heads = config.get("num_attention_heads").longValue();
    config.put(
        "query_pre_attn_scalar",
        layers == largest ? config.get("hidden_size").longValue() / heads : head);
    config.putNull("final_logit_softcapping");
    reader.put("final_logit_softcapping", reader.positive("final_logit_softcapping"));
    long given = reader.sizeOrNone("attention.sliding_window");
    long window = given > 0 ? given : absentWindow;
    if (window > 0) {
      config.put("sliding_window", window);
    }
    ArrayNode types = config.putArray("layer_types");
    for (long layer = 0; layer < layers; layer++) {
      types.add(window > 0 && slides.test(layer) ? "sliding_attention" : "full_attention");
    }
    RopeScaling.put(reader, head);
  }

  static void phi3(ConfigReader reader) {
    long head = common(reader, "silu");
    usualHead(reader, head);
    long rotary = reader.size("rope.dimension_count", head);
    if (rotary > head) {
      throw reader.refused("a rotary embedding of " + rotary + " of a head's " + head + " values");
    }
    if (rotary != head) {
      reader.config().put("partial_rotary_factor", (double) rotary / head);
    }
    long window = reader.sizeOrNone("attention.sliding_window");
    if (window > 0) {
      reader.config().put("sliding_window", window);
    } else {
      reader.config().putNull("sliding_window");
    }
    RopeScaling.putLong(reader, rotary);
  }

  static void gpt2(ConfigReader reader) {
    ObjectNode config = reader.config();
    long hidden = reader.size("embedding_length");
    config.put("n_embd", hidden);
    config.put("n_layer", layers(reader));
    config.put("n_head", reader.size("attention.head_count"));
    if (reader.size("attention.head_count_kv", reader.size("attention.head_count"))
        != reader.size("attention.head_count")) {
      throw reader.refused("GPT-2 with grouped keys and values is not implemented");
    }
    config.put("n_inner", reader.size("feed_forward_length", 4 * hidden));
    reader.size("context_length");
    long positions = reader.file().tensor("position_embd.weight").shape().get(0);
    config.put("n_positions", positions);
    config.put("n_ctx", positions);
    config.put("layer_norm_epsilon", reader.positive("attention.layer_norm_epsilon").orElse(1e-5));
    config.put("activation_function", "gelu_new");
  }

  private static long layers(ConfigReader reader) {
    long layers = reader.size("block_count");
    if (layers > 4096) {
      throw reader.refused("there are at most 4096 layers; the file says " + layers);
    }
    return layers;
  }

  /** Puts the sizes that all but GPT-2 have, and gives the size of a head. */
  private static long common(ConfigReader reader, String activation) {
    ObjectNode config = reader.config();
    long hidden = reader.size("embedding_length");
    long heads = reader.size("attention.head_count");
    config.put("hidden_size", hidden);
    config.put("num_hidden_layers", layers(reader));
    config.put("num_attention_heads", heads);
    config.put("num_key_value_heads", reader.size("attention.head_count_kv", heads));
    config.put("intermediate_size", reader.size("feed_forward_length"));
    config.put("max_position_embeddings", reader.size("context_length"));
    config.put(
        "rms_norm_eps",
        reader
            .positive("attention.layer_norm_rms_epsilon")
            .orElseThrow(
                () -> reader.refused("the epsilon of the norms is missing from the metadata")));
    reader.put("rope_theta", reader.positive("rope.freq_base"));
    config.put("hidden_act", activation);
    if (reader.file().tensor("token_embd.weight").rowLength() != hidden) {
      throw reader.refused(
          "token_embd.weight has rows of "
              + reader.file().tensor("token_embd.weight").rowLength()
              + " values, where the embedding length is "
              + hidden);
    }
    long head = reader.size("attention.key_length", Math.max(hidden / heads, 1));
    long values = reader.size("attention.value_length", head);
    if (values != head) {
      throw reader.refused(
          "heads of " + head + " values for keys and " + values + " for values differ");
    }
    return head;
  }

  private static void wholeHead(ConfigReader reader, long head) {
    long rotary = reader.size("rope.dimension_count", head);
    if (rotary != head) {
      throw reader.refused(
          "a rotary embedding of "
              + rotary
              + " of a head's "
              + head
              + " values is not implemented");
    }
  }

  /** These families have no key for another size. */
  private static void usualHead(ConfigReader reader, long head) {
    long expected =
        reader.config().get("hidden_size").longValue()
            / reader.config().get("num_attention_heads").longValue();
    if (head != expected) {
      throw reader.refused(
          "heads of " + head + " values, where hidden size and heads make " + expected);
    }
  }

  private static void biases(ConfigReader reader, long head) {
    reader.config().put("head_dim", head);
    reader.config().put("attention_bias", reader.has(FIRST + "attn_q.bias"));
  }
}
