package io.peft4j.methods;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.state.Json;
import io.peft4j.state.SafeTensors;
import io.peft4j.torch.Precision;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Directories that PEFT saved give PEFT's outputs, merged and not, and are saved again alike. */
final class MethodGoldenTest {
  private static final Path ROOT = Path.of(System.getProperty("peft4j.golden"));
  private static final double TOLERANCE = 1e-5;

  @TempDir Path temporary;

  @TestFactory
  Stream<DynamicTest> adapters() throws IOException {
    try (Stream<Path> paths = Files.list(ROOT.resolve("methods"))) {
      return paths.sorted().toList().stream()
          .map(dir -> DynamicTest.dynamicTest(dir.getFileName().toString(), () -> check(dir)));
    }
  }

  private void check(Path directory) throws IOException {
    String base = Json.readObject(directory.resolve("case.json")).get("base").textValue();
    LoadOptions options = LoadOptions.builder().precision(Precision.FLOAT32).build();
    try (PretrainedModel model =
            PretrainedModel.load(ROOT.resolve("models").resolve(base), options);
        PeftModel adapted = PeftModel.load(model, directory);
        NDManager manager = NDManager.newBaseManager("PyTorch");
        SafeTensors io = SafeTensors.open(directory.resolve("io.safetensors"))) {
      NDList inputs = new NDList();
      for (String name : new String[] {"input_ids", "attention_mask"}) {
        NDArray array = io.array(manager, name).duplicate();
        array.setName(name);
        inputs.add(array);
      }
      float[] expected = io.float32(manager, "output").toFloatArray();
      assertClose(io.float32(manager, "base").toFloatArray(), adapted.with().forward(inputs));
      assertClose(expected, adapted.forward(inputs));
      adapted.safeMerge();
      assertClose(expected, adapted.forward(inputs));
      adapted.unmerge();
      Path saved = temporary.resolve(directory.getFileName());
      adapted.save(saved, Peft.DEFAULT_ADAPTER);
      assertArrayEquals(
          Files.readAllBytes(directory.resolve("adapter_model.safetensors")),
          Files.readAllBytes(saved.resolve("adapter_model.safetensors")));
      assertEquals(
          normalised(Json.readObject(directory.resolve("adapter_config.json"))),
          normalised(Json.readObject(saved.resolve("adapter_config.json"))));
      assertTrue(adapted.adapter(Peft.DEFAULT_ADAPTER).notes().isEmpty());
    }
  }

  /** PEFT's lists are sets in its memory. */
  private static ObjectNode normalised(ObjectNode config) {
    for (String key : Set.of("target_modules", "feedforward_modules", "modules_to_save")) {
      if (config.get(key) instanceof ArrayNode array) {
        Set<String> values = new TreeSet<>();
        array.forEach(value -> values.add(value.textValue()));
        ArrayNode sorted = config.putArray(key);
        values.forEach(sorted::add);
      }
    }
    return config;
  }

  private static void assertClose(float[] expected, NDList outputs) {
    float[] actual = outputs.head().toFloatArray();
    assertEquals(expected.length, actual.length);
    double largest = 1;
    double worst = 0;
    for (int i = 0; i < expected.length; i++) {
      largest = Math.max(largest, Math.abs(expected[i]));
      worst = Math.max(worst, Math.abs(expected[i] - actual[i]));
    }
    assertTrue(worst / largest <= TOLERANCE, "differs by " + worst / largest);
  }
}
