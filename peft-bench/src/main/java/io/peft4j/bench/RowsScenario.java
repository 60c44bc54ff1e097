package io.peft4j.bench;

import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import io.peft4j.AdapterSet;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.lora.LoraConfig;
import io.peft4j.models.PretrainedModel;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/**
 * A batch whose rows all have a LoRA of their own, against the same batch with one for all rows,
 * and with none.
 */
final class RowsScenario {
  private static final int ROWS = 64;

  private RowsScenario() {}

  static void run(Settings settings) {
    Figures figures = new Figures(settings.output());
    for (BaseShape shape : List.of(BaseShape.BERT, BaseShape.LLAMA)) {
      String name = shape == BaseShape.BERT ? "bert" : "llama";
      try (NDManager manager = NDManager.newBaseManager("PyTorch");
          PretrainedModel base = shape.random(settings.tiny())) {
        measure(
            figures, "rows." + name + ".qv.", base, shape.lora(), inputs(shape, manager, settings));
        measure(
            figures,
            "rows." + name + ".all.",
            base,
            shape.loraOnAll(8),
            inputs(shape, manager, settings));
      }
    }
  }

  private static NDList inputs(BaseShape shape, NDManager manager, Settings settings) {
    return shape.inputs(manager, settings.tiny(), ROWS, 16);
  }

  private static void measure(
      Figures figures, String prefix, PretrainedModel base, LoraConfig config, NDList inputs) {
    try (PeftModel model = Peft.open(base)) {
      List<String> names = new ArrayList<>();
      for (int row = 0; row < ROWS; row++) {
        names.add("row-" + row);
        model.addAdapter(names.get(row), config);
      }
      Times times =
          new InTurns()
              .task("none", forward(model.with()::forward, inputs))
              .task("one", forward(model.with(names.get(0))::forward, inputs))
              .task("each", forward(model.with(AdapterSet.rows(names))::forward, inputs))
              .run(1, 5);
      figures.add(prefix + "one.ms", times.milliseconds("one"));
      figures.add(prefix + "each.ms", times.milliseconds("each"));
      figures.add(prefix + "rate_of_each.ratio", times.ratio("one", "each"));
      figures.add(prefix + "rate_of_none.ratio", times.ratio("one", "none"));
    }
  }

  private static Runnable forward(Function<NDList, NDList> model, NDList inputs) {
    return () -> model.apply(inputs).close();
  }
}
