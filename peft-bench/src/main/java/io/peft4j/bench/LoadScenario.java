package io.peft4j.bench;

import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import java.nio.file.Path;
import java.util.Locale;

/** From the files of a base and an adapter to the first output of 16 tokens. */
final class LoadScenario {
  private static final BaseShape[] SHAPES = {BaseShape.BERT, BaseShape.LLAMA};
  private static final int ROUNDS = 7;

  private LoadScenario() {}

  /** Writes the checkpoints that both sides load. */
  static void prepare(Settings settings) {
    for (BaseShape shape : SHAPES) {
      Path directory = directory(settings, shape);
      try (PretrainedModel base = shape.random(settings.tiny());
          PeftModel model = Peft.wrap(base, shape.lora())) {
        base.save(directory);
        model.save(directory.resolve("adapter"));
      }
    }
  }

  private static Path directory(Settings settings, BaseShape shape) {
    return settings.models().resolve(name(shape));
  }

  /** Within one process that has done it before. */
  static void run(Settings settings) {
    Figures figures = new Figures(settings.output());
    InTurns turns = new InTurns();
    for (BaseShape shape : SHAPES) {
      Path directory = directory(settings, shape);
      turns.task(name(shape), () -> firstOutput(directory, shape, settings.tiny()));
    }
    Times times = turns.run(2, ROUNDS);
    for (String name : times.tasks()) {
      figures.add("load." + name + ".in_process.ms", times.milliseconds(name));
    }
  }

  private static String name(BaseShape shape) {
    return shape.name().toLowerCase(Locale.ROOT);
  }

  static void firstOutput(Path directory, BaseShape shape, boolean tiny) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel base = PretrainedModel.load(directory);
        PeftModel model = PeftModel.load(base, directory.resolve("adapter"))) {
      NDList inputs = shape.inputs(manager, tiny, 1, 16);
      float first = model.forward(inputs).head().toFloatArray()[0];
      if (!Float.isFinite(first)) {
        throw new IllegalStateException("the output is " + first);
      }
    }
  }
}
