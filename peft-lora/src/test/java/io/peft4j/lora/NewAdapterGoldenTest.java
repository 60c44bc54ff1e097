package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import io.peft4j.state.Json;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * Adapters made here from the arguments that PEFT was given: saved, they have PEFT's tensors by
 * name and shape, and PEFT's configuration.
 */
final class NewAdapterGoldenTest {
  @TempDir Path temporary;

  @TestFactory
  Stream<DynamicTest> adapters() throws IOException {
    return Golden.directories("adapters").stream()
        // Converted ones are saved so by default here, and not by PEFT: the next test has them.
        .filter(dir -> !dir.getFileName().toString().matches(".*(pissa|olora).*"))
        .map(dir -> DynamicTest.dynamicTest(dir.getFileName().toString(), () -> check(dir)));
  }

  private void check(Path directory) {
    ObjectNode description = Json.readObject(directory.resolve("case.json"));
    ObjectNode arguments = (ObjectNode) description.get("config");
    if (arguments.path("ensure_weight_tying").asBoolean()) {
      assertThrows(InvalidConfigException.class, () -> LoraConfig.fromJson(arguments));
      return;
    }
    try (PretrainedModel base = Golden.model(description.get("base").textValue());
        NDManager manager = NDManager.newBaseManager("PyTorch");
        PeftModel model = Peft.wrap(base, LoraConfig.fromJson(arguments))) {
      Path saved = temporary.resolve(directory.getFileName());
      model.save(saved);
      assertEquals(shapes(manager, directory), shapes(manager, saved));
      assertEquals(
          normalised(Json.readObject(directory.resolve("adapter_config.json"))),
          normalised(Json.readObject(saved.resolve("adapter_config.json"))));
    }
  }

  private static Map<String, Shape> shapes(NDManager manager, Path directory) {
    Map<String, Shape> shapes = new TreeMap<>();
    for (Map.Entry<String, NDArray> tensor :
        Golden.tensors(manager, directory.resolve("adapter_model.safetensors")).entrySet()) {
      shapes.put(tensor.getKey(), tensor.getValue().getShape());
    }
    return shapes;
  }

  /** Without the order of sets, repeated heads, and where the base lay. */
  private static ObjectNode normalised(ObjectNode config) {
    ObjectNode copy = config.deepCopy();
    copy.remove("base_model_name_or_path");
    for (String key : Set.of("target_modules", "modules_to_save", "exclude_modules")) {
      if (copy.get(key) instanceof ArrayNode array) {
        Set<String> values = new TreeSet<>();
        array.forEach(value -> values.add(value.textValue()));
        ArrayNode sorted = copy.putArray(key);
        values.forEach(sorted::add);
      }
    }
    return copy;
  }
}
