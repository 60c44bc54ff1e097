package io.peft4j.bench;

import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import java.util.List;
import java.util.function.Function;

/**
 * What an adapter costs a forward pass of BERT-base: wrapped but with no adapter acting, merged,
 * and acting. Merging is at work in one of two models over two equal bases, so that it needs no
 * undoing.
 */
final class IdleScenario {
  private IdleScenario() {}

  static void run(Settings settings) {
    Figures figures = new Figures(settings.output());
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel base = BaseShape.BERT.random(settings.tiny());
        PretrainedModel other = BaseShape.BERT.random(settings.tiny());
        PeftModel model = Peft.wrap(base, BaseShape.BERT.lora());
        PeftModel merged = Peft.wrap(other, BaseShape.BERT.lora())) {
      model.disableAdapters();
      merged.merge();
      measure(figures, "8x128", BaseShape.BERT.inputs(manager, settings.tiny(), 8, 128), 12)
          .compare(base, model, merged);
      measure(figures, "1x16", BaseShape.BERT.inputs(manager, settings.tiny(), 1, 16), 150)
          .compare(base, model, merged);
    }
  }

  private static Measurement measure(Figures figures, String name, NDList inputs, int rounds) {
    return new Measurement(figures, "idle." + name + ".", inputs, rounds);
  }

  private record Measurement(Figures figures, String prefix, NDList inputs, int rounds) {

    void compare(PretrainedModel base, PeftModel model, PeftModel merged) {
      Times times =
          new InTurns()
              .task("plain", forward(base::forward))
              .task("idle", forward(model::forward))
              .task("merged", forward(merged::forward))
              .task("active", forward(model.with(Peft.DEFAULT_ADAPTER)::forward))
              .run(rounds / 4, rounds);
      figures.add(prefix + "plain.ms", times.milliseconds("plain"));
      for (String task : List.of("idle", "merged", "active")) {
        figures.add(prefix + task + ".ratio", times.ratio(task, "plain"));
      }
    }

    private Runnable forward(Function<NDList, NDList> model) {
      return () -> model.apply(inputs).close();
    }
  }
}
