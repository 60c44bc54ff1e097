package io.peft4j.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.state.Json;
import io.peft4j.state.SafeTensors;
import io.peft4j.torch.Precision;
import java.nio.file.Path;

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
