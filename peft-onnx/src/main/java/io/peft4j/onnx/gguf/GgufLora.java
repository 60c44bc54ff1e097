package io.peft4j.onnx.gguf;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDScope;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftModel;
import io.peft4j.lora.LoraConfig;
import io.peft4j.models.gguf.GgufAdapter;
import io.peft4j.models.gguf.GgufAdapter.LowRank;
import io.peft4j.onnx.graph.AdapterInputs;
import io.peft4j.spi.Adapter;
import io.peft4j.state.AdapterState;
import io.peft4j.state.PeftDirectory;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.torch.GradMode;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;

/**
 * LoRA adapters as GGUF files, which llama.cpp takes beside a base ({@code --lora}). {@link
 * GgufAdapter} says what is in them.
 */
public final class GgufLora {
  private GgufLora() {}

  /**
   * Writes an adapter of a model. One that began with part of the base's weights (PiSSA, OLoRA)
   * becomes what it is saved as, plain LoRA of twice the rank.
   *
   * @param model the model
   * @param name the adapter
   * @param config the configuration of the base, as in {@code config.json}
   * @param target the file, which appears whole or not at all
   * @throws io.peft4j.AdapterStateException if there is no adapter of that name
   * @throws InvalidConfigException if it is not LoRA, has what a GGUF adapter cannot say (DoRA,
   *     trained biases, embeddings, tokens, whole modules, a tied output layer), or GGUF has no
   *     name for the model's family
   * @throws io.peft4j.PeftException if the file cannot be written
   */
  public static void write(PeftModel model, String name, ObjectNode config, Path target) {
    Adapter adapter = model.adapter(name);
    if (!(adapter.config() instanceof LoraConfig)) {
      throw refused(name, "type " + adapter.config().peftType());
    }
    adapter.retain();
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      AdapterState state = adapter.state();
      LoraConfig lora = LoraConfig.fromJson(state.config());
      if (lora.useDora()) {
        throw refused(name, "use_dora");
      }
      Map<String, NDArray> rest = new TreeMap<>(state.tensors());
      Map<String, LowRank> layers = new LinkedHashMap<>();
      for (LayerSpec layer : model.layout().layers()) {
        String path = layer.path();
        String a = PeftDirectory.PREFIX + AdapterInputs.a(path);
        String b = PeftDirectory.PREFIX + AdapterInputs.b(path);
        if (isLinear(layer) && rest.containsKey(a) && rest.containsKey(b)) {
          NDArray down = rest.remove(a);
          NDArray up = rest.remove(b);
          double scaling = lora.scaling(path, down.getShape().get(0));
          layers.put(path, new LowRank(down, up, scaling));
        }
      }
      if (!rest.isEmpty()) {
        throw refused(name, rest.keySet().stream().limit(3).collect(Collectors.joining(", ")));
      }
      // llama.cpp would look for output.weight, which the file of such a base has not.
      if (layers.containsKey("lm_head") && !model.layout().tied().isEmpty()) {
        throw refused(name, "lm_head, which is tied to the embedding");
      }
      GgufAdapter.write(config, layers, target);
    } finally {
      adapter.release();
    }
  }

  private static boolean isLinear(LayerSpec layer) {
    return layer.kind() == LayerKind.LINEAR || layer.kind() == LayerKind.LINEAR_TRANSPOSED;
  }

  private static InvalidConfigException refused(String name, String what) {
    return new InvalidConfigException(
        "adapter '"
            + name
            + "' cannot be a GGUF adapter, which is products B·A at linear layers: it has "
            + what
            + ". Export it merged");
  }
}
