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
    float[] last = afterPrompt(directory, ids);
    int end = expected.length;
    double afterPrompt = error(Arrays.copyOfRange(expected, end - last.length, end), last);
    assertTrue(
        afterPrompt > 1e-5 && afterPrompt <= MORE * error(expected, theirs),
        name + " is off by " + afterPrompt + " after a prompt");
  }

  /** Logits of the last token, keys and values written into a cache. */
  private static float[] afterPrompt(Path directory, long[] ids) {
    LoadOptions options = LoadOptions.builder().precision(Precision.BFLOAT16).build();
    try (PretrainedModel model = PretrainedModel.load(directory, options);
        CausalDecoder decoder = CausalDecoder.start(model, List.of(ids), 1, 1)) {
      float[] logits = new float[decoder.vocabulary()];
      decoder.logits(0, logits);
      return logits;
    }
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
