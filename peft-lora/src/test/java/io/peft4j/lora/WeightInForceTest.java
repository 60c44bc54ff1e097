package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import io.peft4j.AdapterSet;
import io.peft4j.AdapterStateException;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import io.peft4j.nn.DenseWeight;
import io.peft4j.nn.Weight;
import io.peft4j.state.Json;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Adapters that replace a weight or rows of it, and those that act on what they replaced. */
final class WeightInForceTest {
  private static final double TOLERANCE = 1e-5;

  private NDManager manager;

  @BeforeEach
  void open() {
    manager = NDManager.newBaseManager("PyTorch");
  }

  @AfterEach
  void close() {
    manager.close();
  }

  private static PretrainedModel withWeights(Map<String, NDArray> tensors) {
    Map<String, Weight> weights = new LinkedHashMap<>();
    tensors.forEach((name, array) -> weights.put(name, DenseWeight.of(array)));
    return PretrainedModel.of(
        Json.readObject(Golden.ROOT.resolve("models").resolve("llama").resolve("config.json")),
        weights);
  }

  /** PEFT loads such a weight into the base, so that the norms are those of the new weight. */
  @Test
  void doraTakesTheNormsOfAWeightThatTheAdapterBrings() {
    String path = "model.layers.0.self_attn.q_proj";
    Path directory = Golden.ROOT.resolve("adapters").resolve("llama-dora");
    Map<String, NDArray> adapter =
        Golden.tensors(manager, directory.resolve("adapter_model.safetensors"));
    Map<String, NDArray> base =
        Golden.tensors(manager, Golden.ROOT.resolve("models/llama/model.safetensors"));
    LoraConfig config = GoldenLlama.config(directory);
    NDList inputs = Golden.inputs(Golden.tensors(manager, directory.resolve("io.safetensors")));
    NDArray own = base.get(path + ".weight");
    NDArray changed = own.mul(1.5).add(own.flip(0));

    NDArray expected;
    Map<String, NDArray> other = new LinkedHashMap<>(base);
    other.put(path + ".weight", changed);
    try (PretrainedModel pretrained = withWeights(other);
        PeftModel model = Peft.open(pretrained)) {
      model.addAdapter("a", config, adapter);
      expected = model.with("a").forward(inputs).head();
    }
    adapter.put("base_model.model." + path + ".base_layer.weight", changed);
    try (PretrainedModel pretrained = withWeights(base);
        PeftModel model = Peft.open(pretrained)) {
      model.addAdapter("a", config, adapter);
      Golden.assertClose(expected, model.with("a").forward(inputs).head(), TOLERANCE, "acting");
      model.merge(AdapterSet.of("a"), true);
      Golden.assertClose(expected, model.with("a").forward(inputs).head(), TOLERANCE, "merged");
    }
  }

  private static LoraConfig rows(int... tokens) {
    return LoraConfig.builder().targetModules("q_proj").trainableTokenIndices(tokens).build();
  }

  @Test
  void aTokenRowIsTrainedByOneOfTheAdaptersThatActTogether() {
    NDList inputs =
        Golden.inputs(
            Golden.tensors(
                manager, Golden.ROOT.resolve("adapters/llama-tied-tokens/io.safetensors")));
    try (PretrainedModel base = Golden.model("llama-tied");
        PeftModel model = Peft.wrap(base, rows(5, 42, 7))) {
      model.addAdapter("same", rows(9, 42, 5));
      model.addAdapter("apart", rows(9, 8));

      model.setActiveAdapters("default", "apart");
      for (Runnable action :
          new Runnable[] {
            () -> model.setActiveAdapters("default", "same"),
            () -> model.with("default", "same"),
            () -> model.merge(AdapterSet.of("default", "same"), false)
          }) {
        assertEquals(
            "adapters 'default' and 'same' cannot act together: model.embed_tokens: both train the"
                + " rows of the tokens [5, 42], which only one of them can replace",
            assertThrows(AdapterStateException.class, action::run).getMessage());
      }
      assertEquals(AdapterSet.of("default", "apart"), model.activeAdapters());
      // Rows of a batch have one adapter each.
      model.with(AdapterSet.rows("default", "same", "apart")).forward(inputs);
    }
  }
}
