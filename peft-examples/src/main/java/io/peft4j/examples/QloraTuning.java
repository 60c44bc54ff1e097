package io.peft4j.examples;

import io.peft4j.MergeReport;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.TaskType;
import io.peft4j.examples.wordnet.DefinedWord;
import io.peft4j.examples.wordnet.InstructionFiles;
import io.peft4j.examples.wordnet.WordNetWords;
import io.peft4j.lora.LoraConfig;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.SaveOptions;
import io.peft4j.models.Tokenizer;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.qlora.BitsAndBytesConfig;
import io.peft4j.qlora.QloraConfig;
import io.peft4j.state.AtomicFiles;
import io.peft4j.state.TensorType;
import io.peft4j.target.Targets;
import io.peft4j.train.Losses;
import io.peft4j.train.Trainer;
import io.peft4j.train.TrainingResult;
import io.peft4j.train.data.InstructionBatches;
import io.peft4j.train.data.InstructionData;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/**
 * Tuning of a language model whose base is held in 4 bits: the base is quantized when it is
 * wrapped, saved as bitsandbytes has it, an adapter is trained over it, saved, and merged, into 16
 * bits and back into 4.
 *
 * <p>Arguments: the model (a directory or GGUF file), the directory for what comes of it, and,
 * optionally, how many words to train on.
 */
public final class QloraTuning {
  private static final int WORDS = 400;

  private QloraTuning() {}

  /**
   * Runs it.
   *
   * @param arguments the model, the output directory, and perhaps how many words to train on
   */
  public static void main(String[] arguments) {
    if (arguments.length < 2) {
      System.err.println("usage: QloraTuning MODEL.gguf|DIR OUTPUT [WORDS]");
      System.exit(2);
    }
    int words = arguments.length > 2 ? Integer.parseInt(arguments[2]) : WORDS;
    run(Path.of(arguments[0]), Path.of(arguments[1]), words);
  }

  private static void run(Path directory, Path output, int words) {
    AtomicFiles.createDirectories(output);
    Path file = output.resolve("train.jsonl");
    List<List<DefinedWord>> split = WordNetWords.load().split(words, 1, 1);
    InstructionFiles.write(file, split.get(0));

    QloraConfig config =
        QloraConfig.builder()
            .lora(
                LoraConfig.builder()
                    .rank(16)
                    .alpha(32)
                    .targetModules(Targets.allLinear())
                    .taskType(TaskType.CAUSAL_LM)
                    .build())
            .quantization(BitsAndBytesConfig.builder().doubleQuantization(true).build())
            .build();
    try (Tokenizer tokenizer = Tokenizer.load(directory);
        PretrainedModel base = PretrainedModel.load(directory)) {
      long before = bytes(base);
      try (PeftModel model = Peft.wrap(base, config)) {
        System.out.printf(
            Locale.ROOT, "the base takes %,d bytes; it took %,d%n", bytes(base), before);
        // What transformers and bitsandbytes load, and every command here takes as --base.
        base.save(output.resolve("base-nf4"), packed());

        InstructionData data = InstructionData.builder(tokenizer).files(file).build();
        TrainingResult result =
            Trainer.builder()
                .model(model)
                .loss(Losses.causalLanguageModel())
                .batches(InstructionBatches.builder(data).batchSize(8).seed(1).build())
                .learningRate(5e-4)
                .recomputation(true)
                .epochs(1)
                .build()
                .run();
        System.out.printf(
            Locale.ROOT,
            "%d steps in %.0f s, loss %.3f to %.3f%n",
            result.steps(),
            result.seconds(),
            result.losses().get(0),
            result.losses().get(result.losses().size() - 1));
        // An ordinary LoRA adapter, as if the base were dense.
        model.save(output.resolve("adapter"));
        merge(base, model, output);
      }
    }
  }

  private static void merge(PretrainedModel base, PeftModel model, Path output) {
    model.safeMerge();
    base.save(output.resolve("merged"), SaveOptions.builder().type(TensorType.BF16).build());
    model.unmerge();
    MergeReport report = model.mergeAsStored(model.activeAdapters());
    base.save(output.resolve("merged-nf4"), packed());
    System.out.printf(
        Locale.ROOT,
        "merged into 4 bits the weights are %.3f off; the adapter changes them by %.3f%n",
        report.error(),
        report.effect());
  }

  private static SaveOptions packed() {
    return SaveOptions.builder().type(TensorType.BF16).asStored().build();
  }

  private static long bytes(PretrainedModel base) {
    try (WeightSnapshot weights = base.weights().lease()) {
      return base.layout().parameters().keySet().stream()
          .mapToLong(name -> weights.weight(base.layout().parameterIndex(name)).bytes())
          .sum();
    }
  }
}
