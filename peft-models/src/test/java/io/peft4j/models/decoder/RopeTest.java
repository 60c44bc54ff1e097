package io.peft4j.models.decoder;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.models.ConfigValues;
import io.peft4j.state.Json;
import io.peft4j.state.SafeTensors;
import io.peft4j.torch.GradMode;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Angles are transformers' own, bit for bit, however a configuration says them. */
class RopeTest {
  private static final Path MODELS = Path.of(System.getProperty("peft4j.golden"), "models");

  private static ObjectNode config(String model) {
    return Json.readObject(MODELS.resolve(model).resolve("config.json"));
  }

  private static RopeReader reader(ObjectNode config) {
    int hidden = config.get("hidden_size").intValue();
    int head = config.path("head_dim").asInt(hidden / config.get("num_attention_heads").intValue());
    int positions = config.get("max_position_embeddings").intValue();
    return new RopeReader(new ConfigValues(config, "test"), head, positions);
  }

  private static void agree(String model, String prefix, Rope rope) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode off = GradMode.off();
        SafeTensors file = SafeTensors.open(MODELS.resolve(model).resolve("angles.safetensors"))) {
      NDArray positions = file.array(manager, "position_ids");
      NDList tables = rope.tables(positions);
      String[] names = {"cos", "sin"};
      for (int i = 0; i < names.length; i++) {
        NDArray expected = file.array(manager, prefix + names[i]);
        assertEquals(expected.getShape().size(), tables.get(i).size());
        assertArrayEquals(expected.toFloatArray(), tables.get(i).toFloatArray(), model);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "llama-linear",
        "llama-dynamic",
        "llama-yarn",
        "llama-yarn-mscale",
        "llama-llama3"
      })
  void anglesAreTransformers(String model) {
    agree(model, "", reader(config(model)).read());
  }

  @ParameterizedTest
  @ValueSource(strings = {"phi3-longrope", "phi3-short"})
  void anglesOfAPartAreTransformers(String model) {
    agree(model, "", reader(config(model)).readPartial(4096));
  }

  @ParameterizedTest
  @CsvSource({"gemma3, true", "gemma3, false", "gemma3-linear, true", "gemma3-linear, false"})
  void anglesOfLayersAreTransformers(String model, boolean sliding) {
    String prefix = sliding ? "sliding_attention." : "full_attention.";
    agree(model, prefix, reader(config(model)).readLayered(sliding));
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama-linear", "llama-dynamic", "llama-yarn", "llama-llama3"})
  void keysOfTransformers4MeanTheSame(String model) {
    ObjectNode config = config(model);
    ObjectNode old = config.deepCopy();
    ObjectNode scaling = (ObjectNode) old.remove("rope_parameters");
    old.set("rope_theta", scaling.remove("rope_theta"));
    scaling.set("type", scaling.remove("rope_type"));
    old.set("rope_scaling", scaling);

    assertEquals(reader(config).read(), reader(old).read());
    assertNotEquals(new Rope.None(), reader(old).read().scaling());
  }

  @Test
  void oldKeysOfPhi3MeanTheSame() {
    ObjectNode config = config("phi3-longrope");
    ObjectNode old = config.deepCopy();
    ObjectNode scaling = (ObjectNode) old.remove("rope_parameters");
    scaling.remove("rope_type");
    old.set("rope_theta", scaling.remove("rope_theta"));
    old.set("partial_rotary_factor", scaling.remove("partial_rotary_factor"));
    old.set("rope_scaling", scaling);
    for (String type : new String[] {"su", "yarn", "longrope"}) {
      scaling.put("type", type);
      assertEquals(reader(config).readPartial(4096), reader(old).readPartial(4096), type);
    }
  }

  @Test
  void oldKeysOfGemma3MeanTheSame() {
    ObjectNode config = config("gemma3-linear");
    ObjectNode old = config.deepCopy();
    old.remove("rope_parameters");
    old.put("rope_theta", 500.0);
    old.put("rope_local_base_freq", 20.0);
    old.putObject("rope_scaling").put("rope_type", "linear").put("factor", 8.0);
    for (boolean sliding : new boolean[] {true, false}) {
      assertEquals(reader(config).readLayered(sliding), reader(old).readLayered(sliding));
    }
  }

  @Test
  void dynamicAnglesAreThePlainOnesUpToWhatWasTrained() {
    Rope grown = new Rope(10000, 8, new Rope.Dynamic(3, 8));
    Rope plain = new Rope(10000, 8, new Rope.None());
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode off = GradMode.off()) {
      NDArray within = manager.create(new long[][] {{0, 3, 7}});
      NDArray beyond = manager.create(new long[][] {{0, 3, 8}});
      float[] expected = plain.tables(within).get(1).toFloatArray();
      assertArrayEquals(expected, grown.tables(within).get(1).toFloatArray());
      float[] slower = grown.tables(beyond).get(1).toFloatArray();
      assertNotEquals(plain.tables(beyond).get(1).toFloatArray()[5], slower[5]);
    }
  }
}
