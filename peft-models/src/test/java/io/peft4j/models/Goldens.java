package io.peft4j.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.state.Checkpoint;
import io.peft4j.state.Json;
import io.peft4j.state.SafeTensors;
import io.peft4j.state.SafeTensorsWriter;
import io.peft4j.state.SafeTensorsWriter.Entry;
import io.peft4j.torch.Precision;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/** The golden models and what transformers makes of their inputs. */
final class Goldens {
  private static final Path ROOT = Path.of(System.getProperty("peft4j.golden"), "models");

  private Goldens() {}

  /** A model computed in float32 whatever it is stored in: that is what goldens are. */
  static PretrainedModel load(Path directory) {
    return PretrainedModel.load(
        directory, LoadOptions.builder().precision(Precision.FLOAT32).build());
  }

  static Path directory(String model) {
    return ROOT.resolve(model);
  }

  static ObjectNode config(String model) {
    return Json.readObject(directory(model).resolve("config.json"));
  }

  /** Writes a golden model with another configuration and other tensors into a directory. */
  static Path changed(
      Path directory, String model, ObjectNode config, Consumer<Map<String, NDArray>> change)
      throws IOException {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      Map<String, NDArray> tensors = new LinkedHashMap<>();
      try (Checkpoint checkpoint = Checkpoint.open(directory(model))) {
        checkpoint.names().forEach(name -> tensors.put(name, checkpoint.float32(manager, name)));
      }
      change.accept(tensors);
      List<Entry> entries =
          tensors.entrySet().stream().map(e -> Entry.of(e.getKey(), e.getValue())).toList();
      SafeTensorsWriter.write(directory.resolve("model.safetensors"), entries, Map.of());
    }
    Files.writeString(directory.resolve("config.json"), config.toString());
    return directory;
  }

  static NDList inputs(NDManager manager, Path file) {
    NDList inputs = new NDList();
    try (SafeTensors io = SafeTensors.open(file)) {
      for (String name :
          new String[] {"input_ids", "attention_mask", "token_type_ids", "position_ids"}) {
        if (io.contains(name)) {
          NDArray array = io.array(manager, name);
          array.setName(name);
          inputs.add(array);
        }
      }
    }
    return inputs;
  }

  static float[] expected(NDManager manager, Path file, String name) {
    try (SafeTensors io = SafeTensors.open(file);
        NDArray array = io.float32(manager, name)) {
      return array.toFloatArray();
    }
  }

  /** Equal up to a part of the largest magnitude. */
  static void assertClose(float[] expected, float[] actual, double tolerance, String what) {
    assertEquals(expected.length, actual.length, what);
    double magnitude = 1;
    for (float value : expected) {
      magnitude = Math.max(magnitude, Math.abs(value));
    }
    for (int i = 0; i < expected.length; i++) {
      if (!(Math.abs(expected[i] - actual[i]) <= tolerance * magnitude)) {
        fail(what + " differs at " + i + ": expected " + expected[i] + ", was " + actual[i]);
      }
    }
  }

  static void assertSame(NDList expected, NDList actual) {
    assertEquals(expected.size(), actual.size());
    for (int i = 0; i < expected.size(); i++) {
      assertEquals(expected.get(i).getName(), actual.get(i).getName());
      assertArrayEquals(expected.get(i).toFloatArray(), actual.get(i).toFloatArray());
    }
  }
}
