package io.peft4j.models.gguf;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * What llama.cpp calls the parts of a family of models, and what Hugging Face calls them: one table
 * for each family. Everything else about reading is the same for all.
 *
 * @param name {@code general.architecture}
 * @param modelType Hugging Face's name of the family
 * @param className Hugging Face's name of the causal language model
 * @param whole parts outside of layers
 * @param layerPrefix what stands before the number of a layer at Hugging Face
 * @param layer parts of each layer
 * @param settings reads what the configuration needs
 */
record Architecture(
    String name,
    String modelType,
    String className,
    List<Part> whole,
    String layerPrefix,
    List<Part> layer,
    ConfigReader.Settings settings) {

  /** What is done to the values of a part's weight. */
  enum Change {
    NONE,
    /** Queries, reordered head by head; so is the bias. */
    QUERY_ROWS,
    /** Keys, reordered head by head; so is the bias. */
    KEY_ROWS,
    /** The file has 1 + weight. */
    MINUS_ONE,
    /** Hugging Face has the weight the other way round; not the bias. */
    TRANSPOSED
  }

  /** Whether a part has a bias. */
  enum Bias {
    NEVER,
    PERHAPS,
    ALWAYS
  }

  /**
   * A weight, and perhaps a bias.
   *
   * @param stored the name in the file, without number and ending
   * @param target the name at Hugging Face, likewise
   * @param required whether there is no model without it
   */
  record Part(String stored, String target, Change change, Bias bias, boolean required) {
    static Part of(String stored, String target) {
      return new Part(stored, target, Change.NONE, Bias.NEVER, true);
    }

    Part changed(Change other) {
      return new Part(stored, target, other, bias, required);
    }

    Part bias(Bias other) {
      return new Part(stored, target, change, other, required);
    }

    Part optional() {
      return new Part(stored, target, change, bias, false);
    }
  }

  private static final List<Part> DECODER =
      List.of(
          Part.of("token_embd", "model.embed_tokens"),
          Part.of("output_norm", "model.norm"),
          Part.of("output", "lm_head").optional());

  private static final List<Part> GATED =
      List.of(
          Part.of("ffn_gate", "mlp.gate_proj").bias(Bias.PERHAPS),
          Part.of("ffn_up", "mlp.up_proj").bias(Bias.PERHAPS),
          Part.of("ffn_down", "mlp.down_proj").bias(Bias.PERHAPS));

  private static final List<Part> NORMS =
      List.of(
          Part.of("attn_norm", "input_layernorm"), Part.of("ffn_norm", "post_attention_layernorm"));

  private static final List<Part> FOUR_NORMS =
      List.of(
          Part.of("attn_norm", "input_layernorm"),
          Part.of("post_attention_norm", "post_attention_layernorm"),
          Part.of("ffn_norm", "pre_feedforward_layernorm"),
          Part.of("post_ffw_norm", "post_feedforward_layernorm"));

  private static final List<Part> HEAD_NORMS =
      List.of(
          Part.of("attn_q_norm", "self_attn.q_norm"), //
          Part.of("attn_k_norm", "self_attn.k_norm"));

  static final List<Architecture> ALL =
      List.of(
          new Architecture(
              "llama",
              "llama",
              "LlamaForCausalLM",
              DECODER,
              "model.layers.",
              join(attention(Change.QUERY_ROWS, Change.KEY_ROWS), NORMS, GATED),
              DecoderSettings::llama),
          new Architecture(
              "qwen2",
              "qwen2",
              "Qwen2ForCausalLM",
              DECODER,
              "model.layers.",
              join(attention(Change.NONE, Change.NONE), NORMS, GATED),
              DecoderSettings::qwen2),
          new Architecture(
              "qwen3",
              "qwen3",
              "Qwen3ForCausalLM",
              DECODER,
              "model.layers.",
              join(attention(Change.NONE, Change.NONE), HEAD_NORMS, NORMS, GATED),
              DecoderSettings::qwen3),
          new Architecture(
              "gemma2",
              "gemma2",
              "Gemma2ForCausalLM",
              normsMinusOne(DECODER),
              "model.layers.",
              join(attention(Change.NONE, Change.NONE), normsMinusOne(FOUR_NORMS), GATED),
              DecoderSettings::gemma2),
          new Architecture(
              "gemma3",
              "gemma3_text",
              "Gemma3ForCausalLM",
              normsMinusOne(DECODER),
              "model.layers.",
              join(
                  attention(Change.NONE, Change.NONE),
                  normsMinusOne(HEAD_NORMS),
                  normsMinusOne(FOUR_NORMS),
                  GATED),
              DecoderSettings::gemma3),
          new Architecture(
              "phi3",
              "phi3",
              "Phi3ForCausalLM",
              DECODER,
              "model.layers.",
              join(
                  NORMS,
                  List.of(
                      Part.of("attn_qkv", "self_attn.qkv_proj"),
                      Part.of("attn_output", "self_attn.o_proj"),
                      Part.of("ffn_up", "mlp.gate_up_proj"),
                      Part.of("ffn_down", "mlp.down_proj"))),
              DecoderSettings::phi3),
          new Architecture(
              "gpt2",
              "gpt2",
              "GPT2LMHeadModel",
              List.of(
                  Part.of("token_embd", "transformer.wte"),
                  Part.of("position_embd", "transformer.wpe"),
                  Part.of("output_norm", "transformer.ln_f").bias(Bias.ALWAYS),
                  Part.of("output", "lm_head").optional()),
              "transformer.h.",
              List.of(
                  Part.of("attn_norm", "ln_1").bias(Bias.ALWAYS),
                  convolution("attn_qkv", "attn.c_attn"),
                  convolution("attn_output", "attn.c_proj"),
                  Part.of("ffn_norm", "ln_2").bias(Bias.ALWAYS),
                  convolution("ffn_up", "mlp.c_fc"),
                  convolution("ffn_down", "mlp.c_proj")),
              DecoderSettings::gpt2));

  private static List<Part> attention(Change query, Change key) {
    return List.of(
        Part.of("attn_q", "self_attn.q_proj").changed(query).bias(Bias.PERHAPS),
        Part.of("attn_k", "self_attn.k_proj").changed(key).bias(Bias.PERHAPS),
        Part.of("attn_v", "self_attn.v_proj").bias(Bias.PERHAPS),
        Part.of("attn_output", "self_attn.o_proj").bias(Bias.PERHAPS));
  }

  private static Part convolution(String stored, String target) {
    return Part.of(stored, target).changed(Change.TRANSPOSED).bias(Bias.ALWAYS);
  }

  private static List<Part> normsMinusOne(List<Part> parts) {
    return parts.stream()
        .map(part -> part.stored().endsWith("norm") ? part.changed(Change.MINUS_ONE) : part)
        .toList();
  }

  @SafeVarargs
  private static List<Part> join(List<Part>... parts) {
    List<Part> all = new ArrayList<>();
    Stream.of(parts).forEach(all::addAll);
    return List.copyOf(all);
  }

  /** The table for a file. */
  static Architecture of(GgufFile file) {
    String name =
        file.metadata()
            .string("general.architecture")
            .orElseThrow(
                () ->
                    new InvalidConfigException(
                        file.file() + ": does not say what it is: no general.architecture"));
    return ALL.stream()
        .filter(architecture -> architecture.name().equals(name))
        .findFirst()
        .orElseThrow(
            () ->
                new InvalidConfigException(
                    file.file()
                        + ": the architecture "
                        + Quotes.quote(name)
                        + " is not implemented; implemented are "
                        + ALL.stream().map(Architecture::name).collect(Collectors.joining(", "))));
  }

  /** The table for a Hugging Face configuration. */
  static Architecture of(ObjectNode config) {
    String given = config.path("model_type").asText();
    // llama.cpp keeps Mistral as a Llama.
    String type = given.equals("mistral") ? "llama" : given;
    return ALL.stream()
        .filter(architecture -> architecture.modelType().equals(type))
        .findFirst()
        .orElseThrow(
            () ->
                new InvalidConfigException(
                    "GGUF files are written for "
                        + ALL.stream()
                            .map(Architecture::modelType)
                            .collect(Collectors.joining(", "))
                        + " and mistral; the model is "
                        + Quotes.quote(given)));
  }

  /**
   * All parts of a model.
   *
   * @return name in the file to the part with its whole name at Hugging Face, both without ending
   */
  Map<String, Part> stored(ObjectNode config) {
    Map<String, Part> stored = new LinkedHashMap<>();
    for (Part part : whole) {
      stored.put(part.stored(), part);
    }
    int layers = config.path(config.has("n_layer") ? "n_layer" : "num_hidden_layers").intValue();
    for (int i = 0; i < layers; i++) {
      for (Part part : layer) {
        String target = layerPrefix + i + "." + part.target();
        Part whole = new Part(part.stored(), target, part.change(), part.bias(), part.required());
        stored.put("blk." + i + "." + part.stored(), whole);
      }
    }
    return stored;
  }

  /** The number of heads whose rows are reordered. */
  static long heads(Change change, ObjectNode config) {
    long heads = config.path("num_attention_heads").longValue();
    return change == Change.KEY_ROWS ? config.path("num_key_value_heads").asLong(heads) : heads;
  }
}
