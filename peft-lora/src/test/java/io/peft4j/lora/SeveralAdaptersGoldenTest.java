package io.peft4j.lora;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.AdapterSet;
import io.peft4j.ForwardMode;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import io.peft4j.state.Json;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Several adapters that PEFT made over one base: alone, together, weighted, and mixed in a batch.
 */
final class SeveralAdaptersGoldenTest {
  private static final double TOLERANCE = 1e-5;

  @ParameterizedTest
  @ValueSource(strings = {"llama", "bert-classifier"})
  void computeWhatPeftComputes(String name) {
    Path directory = Golden.ROOT.resolve("multi").resolve(name);
    ObjectNode description = Json.readObject(directory.resolve("case.json"));
    try (PretrainedModel base = Golden.model(description.get("base").textValue());
        NDManager manager = NDManager.newBaseManager("PyTorch");
        PeftModel model = Peft.open(base)) {
      for (JsonNode adapter : description.get("adapters")) {
        model.loadAdapter(adapter.textValue(), directory.resolve(adapter.textValue()));
      }
      Map<String, NDArray> io = Golden.tensors(manager, directory.resolve("io.safetensors"));
      NDList inputs = Golden.inputs(io);
      for (JsonNode adapter : description.get("adapters")) {
        check(model, AdapterSet.of(adapter.textValue()), inputs, io, "only." + adapter.textValue());
      }
      for (JsonNode active : description.get("active")) {
        List<String> names = strings(active);
        check(
            model,
            AdapterSet.of(names.toArray(String[]::new)),
            inputs,
            io,
            "active." + String.join("+", names));
      }
      AdapterSet weighted = AdapterSet.none();
      for (Map.Entry<String, JsonNode> entry : description.get("weighted").properties()) {
        weighted = weighted.and(entry.getKey(), entry.getValue().doubleValue());
      }
      check(model, weighted, inputs, io, "weighted");
      for (int i = 0; i < description.get("mixed").size(); i++) {
        AdapterSet rows = AdapterSet.rows(strings(description.get("mixed").get(i)));
        check(model, rows, inputs, io, "mixed." + i);
        Golden.assertClose(
            io.get("mixed." + i),
            model.with(rows).forward(inputs, ForwardMode.TRAINING_WITHOUT_DROPOUT).head(),
            TOLERANCE,
            "mixed in training");
      }
    }
  }

  private static void check(
      PeftModel model, AdapterSet set, NDList inputs, Map<String, NDArray> io, String key) {
    Golden.assertClose(io.get(key), model.with(set).forward(inputs).head(), TOLERANCE, key);
    if (set.rows().isEmpty()) {
      model.merge(set, true);
      Golden.assertClose(
          io.get(key), model.with(set).forward(inputs).head(), TOLERANCE, key + " merged");
      model.unmerge();
    }
  }

  private static List<String> strings(JsonNode array) {
    List<String> strings = new ArrayList<>();
    array.forEach(value -> strings.add(value.textValue()));
    return strings;
  }
}
