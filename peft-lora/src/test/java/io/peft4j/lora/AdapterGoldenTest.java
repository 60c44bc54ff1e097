package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.AdapterStateException;
import io.peft4j.Peft;
import io.peft4j.PeftException;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import io.peft4j.state.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Directories that PEFT wrote: the same outputs, and the same files when saved again. */
final class AdapterGoldenTest {
  private static final double TOLERANCE = 1e-5;

  /** What is refused by name, and the name. */
  private static final Map<String, String> REFUSED =
      Map.of(
          "ensure_weight_tying", "ensure_weight_tying",
          "pissa_niter_4", "path_initial_model_for_weight_conversion");

  @TempDir Path temporary;

  @TestFactory
  Stream<DynamicTest> adapters() throws IOException {
    return Golden.directories("adapters").stream()
        .map(dir -> DynamicTest.dynamicTest(dir.getFileName().toString(), () -> check(dir)));
  }

  private void check(Path directory) throws IOException {
    ObjectNode description = Json.readObject(directory.resolve("case.json"));
    ObjectNode config = Json.readObject(directory.resolve("adapter_config.json"));
    try (PretrainedModel base = Golden.model(description.get("base").textValue());
        NDManager manager = NDManager.newBaseManager("PyTorch")) {
      String refused = refusal(config);
      if (refused != null) {
        PeftException e =
            Assertions.assertThrows(PeftException.class, () -> PeftModel.load(base, directory));
        Assertions.assertTrue(e.getMessage().contains(refused), e.getMessage());
        return;
      }
      Map<String, NDArray> io = Golden.tensors(manager, directory.resolve("io.safetensors"));
      NDList inputs = Golden.inputs(io);
      try (PeftModel model = PeftModel.load(base, directory)) {
        assertOutputs(io, "base", model.with().forward(inputs), "base");
        assertOutputs(io, "output", model.forward(inputs), "output");
        roundTrip(model, directory, config);
        merge(model, inputs, io, description);
      }
    }
  }

  private static String refusal(ObjectNode config) {
    if (config.path("ensure_weight_tying").asBoolean()) {
      return REFUSED.get("ensure_weight_tying");
    }
    return REFUSED.get(config.path("init_lora_weights").asText());
  }

  private static void merge(
      PeftModel model, NDList inputs, Map<String, NDArray> io, ObjectNode description) {
    if (description.get("peft_merge").textValue().equals("refused")) {
      Assertions.assertThrows(AdapterStateException.class, model::merge);
      return;
    }
    model.safeMerge();
    // Where PEFT's own merge misses the adapter's output, the output is what is right.
    assertOutputs(io, "output", model.forward(inputs), "merged");
    assertOutputs(io, "base", model.with().forward(inputs), "base while merged");
    model.unmerge();
    assertOutputs(io, "output", model.forward(inputs), "unmerged");
  }

  private static void assertOutputs(
      Map<String, NDArray> io, String key, NDList outputs, String what) {
    Golden.assertClose(io.get(key), outputs.head(), TOLERANCE, what);
    NDArray ends = io.get(key + ".end_logits");
    if (ends != null) {
      Golden.assertClose(ends, outputs.get(1), TOLERANCE, what + ", ends");
    }
  }

  /** PEFT to here to PEFT: the tensor file keeps its bytes, the configuration its content. */
  private void roundTrip(PeftModel model, Path directory, ObjectNode config) throws IOException {
    boolean converted = config.path("init_lora_weights").asText().matches("pissa.*|olora");
    Path saved = temporary.resolve(directory.getFileName());
    model.save(saved, Peft.DEFAULT_ADAPTER);
    if (converted) {
      // Saved as plain LoRA of twice the rank; that it computes the same is tested by loading it.
      return;
    }
    assertArrayEquals(
        Files.readAllBytes(directory.resolve("adapter_model.safetensors")),
        Files.readAllBytes(saved.resolve("adapter_model.safetensors")));
    ObjectNode again = Json.readObject(saved.resolve("adapter_config.json"));
    assertEquals(normalised(config), normalised(again));
  }

  /** PEFT's list fields are sets in its memory, and heads are repeated each time it loads. */
  private static ObjectNode normalised(ObjectNode config) {
    ObjectNode copy = config.deepCopy();
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
