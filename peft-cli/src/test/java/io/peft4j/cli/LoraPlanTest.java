package io.peft4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.ParameterReport;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.lora.LoraConfig;
import io.peft4j.models.PretrainedModel;
import io.peft4j.spi.Adapter;
import io.peft4j.state.Json;
import io.peft4j.target.ModelLayout;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** A plan is what becomes of the configuration when it is attached. */
final class LoraPlanTest {
  @Test
  void plansWhatIsAttached() throws IOException {
    Map<String, PretrainedModel> bases = new LinkedHashMap<>();
    List<Path> cases;
    try (Stream<Path> all = Files.list(Cli.GOLDEN.resolve("adapters"))) {
      cases = all.sorted().toList();
    }
    int compared = 0;
    int refused = 0;
    try {
      for (Path directory : cases) {
        ObjectNode description = Json.readObject(directory.resolve("case.json"));
        if (description.get("config").path("ensure_weight_tying").asBoolean()) {
          refused++;
          continue;
        }
        PretrainedModel base =
            bases.computeIfAbsent(
                description.get("base").textValue(), name -> PretrainedModel.load(Cli.model(name)));
        LoraConfig config = LoraConfig.fromJson((ObjectNode) description.get("config"));
        ModelLayout layout = PretrainedModel.layout(base.config());
        AdapterPlan plan = new LoraPlan(config, layout).plan();
        try (PeftModel model = Peft.wrap(base, config)) {
          String name = directory.getFileName().toString();
          assertEquals(
              model.trainableParameterReport(),
              new ParameterReport(
                  plan.trainable(), layout.parameterCount() + plan.trainable() - plan.borrowed()),
              name);
          assertEquals(List.of(), plan.problems(), name);
          Set<String> lowRank =
              plan.effects().entrySet().stream()
                  .filter(entry -> entry.getValue().contains("RA r="))
                  .map(Map.Entry::getKey)
                  .collect(Collectors.toCollection(TreeSet::new));
          assertEquals(
              model.layerReport(Peft.DEFAULT_ADAPTER).stream()
                  .filter(layer -> layer.effect().contains("RA r="))
                  .map(Adapter.AdaptedLayer::path)
                  .collect(Collectors.toCollection(TreeSet::new)),
              lowRank,
              name);
          assertEquals(lowRank.size(), plan.adapted(), name);
          compared++;
        }
      }
    } finally {
      bases.values().forEach(PretrainedModel::close);
    }
    assertEquals(cases.size(), compared + refused);
    assertTrue(compared > 70, "compared: " + compared);
  }
}
