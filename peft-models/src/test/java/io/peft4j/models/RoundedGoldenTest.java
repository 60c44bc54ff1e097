package io.peft4j.models;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.state.Json;
import io.peft4j.state.TensorType;
import io.peft4j.torch.Precision;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * Models stored in bfloat16: computed in float32 they give what transformers gives for the same
 * rounded weights in float32, computed in bfloat16 they are about as far from that as transformers'
 * own bfloat16 is.
 */
final class RoundedGoldenTest {
  /** Rounding errors of one sum in two orders differ, but not by more than such a factor. */
  private static final double MORE = 1.5;

  @TempDir Path temporary;

  @TestFactory
  List<DynamicTest> everyFamilyIsAsCloseAsTransformersIs() {
    Path file = Path.of(System.getProperty("peft4j.golden"), "generation", "families.json");
    List<DynamicTest> tests = new ArrayList<>();
    for (JsonNode each : Json.readObject(file).path("rounded")) {
      tests.add(DynamicTest.dynamicTest(each.path("model").asText(), () -> check(each)));
    }
    assertEquals(8, tests.size());
    return tests;
  }

  private void check(JsonNode each) {
    String name = each.path("model").asText();
    Path directory = temporary.resolve(name);
    try (PretrainedModel model = Goldens.load(Goldens.directory(name))) {
      model.save(directory, SaveOptions.builder().type(TensorType.BF16).build());
    }
    long[] ids = new long[each.path("ids").size()];
    for (int i = 0; i < ids.length; i++) {
      ids[i] = each.path("ids").get(i).asLong();
    }
    float[] expected = floats(each.path("logits"));
    float[] theirs = floats(each.path("bfloat16"));
    Goldens.assertClose(expected, logits(directory, Precision.FLOAT32, ids), 1e-5, name);
    double error = error(expected, logits(directory, Precision.BFLOAT16, ids));
    assertTrue(
        error > 1e-5 && error <= MORE * error(expected, theirs),
        name + " is off by " + error + ", transformers by " + error(expected, theirs));
    checkPrompts(name, directory, ids, expected, theirs);
  }

  /**
   * The same of prompts whose keys and values go into a cache. One token's logits are off by chance
   * more or less, so that all lengths count together.
   */
  private static void checkPrompts(
      String name, Path directory, long[] ids, float[] expected, float[] theirs) {
    int vocabulary = expected.length / ids.length;
    LoadOptions options = LoadOptions.builder().precision(Precision.BFLOAT16).build();
    double ours = 0;
    double transformers = 0;
    try (PretrainedModel model = PretrainedModel.load(directory, options)) {
      for (int length = 2; length <= ids.length; length++) {
        List<long[]> prompt = List.of(Arrays.copyOf(ids, length));
        float[] logits = new float[vocabulary];
        try (CausalDecoder decoder = CausalDecoder.start(model, prompt, 1, 1)) {
          decoder.logits(0, logits);
        }
        for (int i = 0; i < vocabulary; i++) {
          int place = (length - 1) * vocabulary + i;
          ours += Math.pow(expected[place] - logits[i], 2);
          transformers += Math.pow(expected[place] - theirs[place], 2);
        }
      }
    }
    double ratio = Math.sqrt(ours / transformers);
    assertTrue(
        ratio > 0.01 && ratio <= MORE, name + " is off by " + ratio + " of transformers' error");
  }

  private static float[] logits(Path directory, Precision precision, long[] ids) {
    LoadOptions options = LoadOptions.builder().precision(precision).build();
    try (PretrainedModel model = PretrainedModel.load(directory, options);
        NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDArray input = manager.create(ids, new Shape(1, ids.length));
      return model.forward(new NDList(input)).head().toFloatArray();
    }
  }

  private static double error(float[] expected, float[] actual) {
    assertEquals(expected.length, actual.length);
    double most = 0;
    for (int i = 0; i < expected.length; i++) {
      most = Math.max(most, Math.abs(expected[i] - actual[i]));
    }
    return most;
  }

  private static float[] floats(JsonNode list) {
    float[] values = new float[list.size()];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) list.get(i).asDouble();
    }
    return values;
  }
}
