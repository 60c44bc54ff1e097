package io.peft4j.lora;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import io.peft4j.state.Json;
import io.peft4j.state.SafeTensors;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/** The golden Llama without its blocks: shapes, weights and adapters. */
final class GoldenLlama {
  static final Path GOLDEN = Path.of(System.getProperty("peft4j.golden"));
  static final Path MULTI = GOLDEN.resolve("multi").resolve("llama");

  private GoldenLlama() {}

  static ModelLayout layout() {
    ModelLayout.Builder layout = ModelLayout.builder("llama");
    layout.embedding("model.embed_tokens", 100, 32);
    for (int i = 0; i < 2; i++) {
      String layer = "model.layers." + i;
      layout.linear(layer + ".self_attn.q_proj", 32, 32, false);
      layout.linear(layer + ".self_attn.k_proj", 32, 16, false);
      layout.linear(layer + ".self_attn.v_proj", 32, 16, false);
      layout.linear(layer + ".self_attn.o_proj", 32, 32, false);
      layout.linear(layer + ".mlp.gate_proj", 32, 64, false);
      layout.linear(layer + ".mlp.up_proj", 32, 64, false);
      layout.linear(layer + ".mlp.down_proj", 64, 32, false);
      layout.norm(layer + ".input_layernorm", 32, false);
      layout.norm(layer + ".post_attention_layernorm", 32, false);
    }
    layout.norm("model.norm", 32, false);
    layout.linear("lm_head", 32, 100, false);
    layout.outputLayer("lm_head");
    return layout.build();
  }

  static LayerSpec layer(String path) {
    return layout().layer(path).orElseThrow();
  }

  static Map<String, NDArray> tensors(NDManager manager, Path file) {
    Map<String, NDArray> tensors = new LinkedHashMap<>();
    try (SafeTensors store = SafeTensors.open(file)) {
      for (String name : store.names()) {
        if (!name.startsWith("input_ids") && !name.startsWith("attention_mask")) {
          tensors.put(name, store.float32(manager, name));
        }
      }
    }
    return tensors;
  }

  static LoraConfig config(Path directory) {
    return LoraConfig.fromJson(Json.readObject(directory.resolve("adapter_config.json")));
  }

  static CombinationSource source(NDManager manager, String adapter, double weight) {
    Path directory = MULTI.resolve(adapter);
    return new CombinationSource(
        adapter,
        weight,
        config(directory),
        tensors(manager, directory.resolve("adapter_model.safetensors")),
        layout());
  }

  /** s·B·A of one layer under a configuration. */
  static NDArray delta(LoraConfig config, Map<String, NDArray> tensors, String path) {
    LayerSpec layer = layer(path);
    NDArray a = tensors.get(LoraAssembly.keyA(layer));
    NDArray b = tensors.get(LoraAssembly.keyB(layer));
    return b.matMul(a).mul(config.scaling(path, a.getShape().get(0)));
  }

  static double maxDifference(NDArray first, NDArray second) {
    if (!first.getShape().equals(second.getShape())) {
      throw new AssertionError(first.getShape() + " is not " + second.getShape());
    }
    return first.sub(second).abs().max().toType(DataType.FLOAT64, false).getDouble();
  }

  static double maxMagnitude(NDArray array) {
    return maxDifference(array, array.zerosLike());
  }
}
