package io.peft4j.bench;

import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import io.peft4j.Peft;
import io.peft4j.PeftConfig;
import io.peft4j.PeftModel;
import io.peft4j.ia3.Ia3Config;
import io.peft4j.lora.LoraConfig;
import io.peft4j.models.PretrainedModel;
import io.peft4j.vera.VeraConfig;
import java.util.LinkedHashMap;
import java.util.Map;

/** What each method costs a forward pass of BERT-base while it acts, against merged LoRA. */
final class MethodsScenario {
  private MethodsScenario() {}

  private static Map<String, PeftConfig> methods() {
    String[] layers = BaseShape.BERT.queryAndValue();
    Map<String, PeftConfig> methods = new LinkedHashMap<>();
    methods.put("lora", LoraConfig.builder().rank(8).alpha(16).targetModules(layers).build());
    methods.put("ia3", Ia3Config.builder().build());
    methods.put("vera", VeraConfig.builder().rank(64).targetModules(layers).build());
    return methods;
  }

  static void run(Settings settings) {
    Figures figures = new Figures(settings.output());
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel base = BaseShape.BERT.random(settings.tiny());
        PretrainedModel other = BaseShape.BERT.random(settings.tiny());
        PeftModel model = Peft.open(base);
        PeftModel merged = Peft.wrap(other, BaseShape.BERT.lora())) {
      merged.merge();
      methods().forEach(model::addAdapter);
      measure(
          figures,
          "8x128",
          BaseShape.BERT.inputs(manager, settings.tiny(), 8, 128),
          8,
          model,
          merged);
      measure(
          figures,
          "1x16",
          BaseShape.BERT.inputs(manager, settings.tiny(), 1, 16),
          80,
          model,
          merged);
    }
  }

  private static void measure(
      Figures figures, String size, NDList inputs, int rounds, PeftModel model, PeftModel merged) {
    InTurns turns = new InTurns().task("merged", () -> merged.forward(inputs).close());
    for (String name : model.adapterNames()) {
      turns.task(name, () -> model.with(name).forward(inputs).close());
    }
    Times times = turns.run(rounds / 4, rounds);
    figures.add("methods." + size + ".merged_lora.ms", times.milliseconds("merged"));
    for (String name : model.adapterNames()) {
      figures.add("methods." + size + "." + name + ".ratio", times.ratio(name, "merged"));
    }
  }
}
