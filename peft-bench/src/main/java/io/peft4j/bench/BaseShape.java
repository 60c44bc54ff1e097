package io.peft4j.bench;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.TaskType;
import io.peft4j.lora.LoraConfig;
import io.peft4j.lora.LoraConfigBuilder;
import io.peft4j.models.PretrainedModel;
import io.peft4j.nn.DenseWeight;
import io.peft4j.nn.Weight;
import io.peft4j.target.Targets;
import io.peft4j.torch.Precision;
import io.peft4j.torch.Scopes;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;

/** Models of known shapes with random weights. The Python peer makes the same ones. */
enum BaseShape {
  /** BERT-base with a classifier of ten classes: 109 million parameters. */
  BERT,
  /** A Llama of 135 million parameters (SmolLM2), the output layer tied to the embedding. */
  LLAMA,
  /** A Llama of 1.1 billion parameters (TinyLlama). */
  LLAMA_1B;

  private static final int CLASSES = 10;
  private static final float DEVIATION = 0.02f;

  /** The keys of {@code config.json}. */
  ObjectNode config(boolean tiny) {
    ObjectNode config = JsonNodeFactory.instance.objectNode();
    if (this == BERT) {
      config.putArray("architectures").add("BertForSequenceClassification");
      config.put("model_type", "bert");
      put(config, "hidden_size", 768, 32, tiny);
      put(config, "num_hidden_layers", 12, 2, tiny);
      put(config, "num_attention_heads", 12, 4, tiny);
      put(config, "intermediate_size", 3072, 64, tiny);
      put(config, "vocab_size", 30522, 100, tiny);
      config.put("max_position_embeddings", 512).put("type_vocab_size", 2);
      config.put("hidden_act", "gelu").put("layer_norm_eps", 1e-12);
      config.put("hidden_dropout_prob", 0.1).put("attention_probs_dropout_prob", 0.1);
      config.put("pad_token_id", 0);
      ObjectNode labels = config.putObject("id2label");
      ObjectNode numbers = config.putObject("label2id");
      for (int i = 0; i < CLASSES; i++) {
        labels.put(Integer.toString(i), "LABEL_" + i);
        numbers.put("LABEL_" + i, i);
      }
    } else {
      config.putArray("architectures").add("LlamaForCausalLM");
      config.put("model_type", "llama");
      boolean large = this == LLAMA_1B;
      put(config, "hidden_size", large ? 2048 : 576, 32, tiny);
      put(config, "num_hidden_layers", large ? 22 : 30, 2, tiny);
      put(config, "num_attention_heads", large ? 32 : 9, 4, tiny);
      put(config, "num_key_value_heads", large ? 4 : 3, 2, tiny);
      put(config, "intermediate_size", large ? 5632 : 1536, 64, tiny);
      put(config, "vocab_size", large ? 32000 : 49152, 100, tiny);
      config.put("max_position_embeddings", 2048).put("rope_theta", 10000.0);
      config.put("hidden_act", "silu").put("rms_norm_eps", 1e-5);
      config.put("tie_word_embeddings", !large).put("attention_bias", false);
    }
    return config;
  }

  private static void put(ObjectNode config, String key, int full, int small, boolean tiny) {
    config.put(key, tiny ? small : full);
  }

  /** A model with weights from the normal distribution; the caller closes it. */
  PretrainedModel random(boolean tiny) {
    return random(tiny, Precision.FLOAT32);
  }

  /** A model with weights from the normal distribution; the caller closes it. */
  PretrainedModel random(boolean tiny, Precision precision) {
    ObjectNode config = config(tiny);
    Map<String, Weight> weights = new LinkedHashMap<>();
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      PretrainedModel.layout(config)
          .parameters()
          .forEach(
              (name, shape) -> {
                boolean norm = name.contains("norm") || name.contains("LayerNorm");
                NDArray array =
                    norm && name.endsWith("weight")
                        ? manager.ones(shape)
                        : manager.randomNormal(0, DEVIATION, shape, DataType.FLOAT32);
                weights.put(name, DenseWeight.owning(Scopes.unmanaged(array), precision));
              });
    }
    return PretrainedModel.of(config, weights);
  }

  /** The names of the attention projections that are adapted where few layers are. */
  String[] queryAndValue() {
    return this == BERT ? new String[] {"query", "value"} : new String[] {"q_proj", "v_proj"};
  }

  /** LoRA of rank 8 on query and value, with a trained classifier where there is one. */
  LoraConfig lora() {
    LoraConfigBuilder config =
        LoraConfig.builder().rank(8).alpha(16).targetModules(queryAndValue());
    return this == BERT ? config.taskType(TaskType.SEQ_CLS).build() : config.build();
  }

  /** LoRA of rank 8 on all linear layers. */
  LoraConfig loraOnAll() {
    return loraOnAll(8);
  }

  LoraConfig loraOnAll(int rank) {
    return LoraConfig.builder()
        .rank(rank)
        .alpha(2 * rank)
        .targetModules(Targets.allLinear())
        .build();
  }

  /** Random tokens without padding. */
  NDList inputs(NDManager manager, boolean tiny, int batch, int length) {
    int vocabulary = config(tiny).get("vocab_size").asInt();
    long[] ids = new Random(batch).longs((long) batch * length, 0, vocabulary).toArray();
    NDArray tokens = manager.create(ids, new Shape(batch, length));
    tokens.setName("input_ids");
    NDArray mask = manager.ones(new Shape(batch, length), DataType.INT64);
    mask.setName("attention_mask");
    return new NDList(tokens, mask);
  }

  /** Random classes. */
  NDList labels(NDManager manager, int batch) {
    return new NDList(manager.create(new Random(1).longs(batch, 0, CLASSES).toArray()));
  }
}
