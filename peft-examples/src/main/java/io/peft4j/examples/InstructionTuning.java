package io.peft4j.examples;

import io.peft4j.Peft;
import io.peft4j.PeftConfig;
import io.peft4j.PeftModel;
import io.peft4j.TaskType;
import io.peft4j.examples.wordnet.DefinedWord;
import io.peft4j.examples.wordnet.InstructionFiles;
import io.peft4j.examples.wordnet.WordNetWords;
import io.peft4j.full.FullConfig;
import io.peft4j.lora.LoraConfig;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.Tokenizer;
import io.peft4j.models.chat.ChatMessage;
import io.peft4j.models.generate.GenerationOptions;
import io.peft4j.models.generate.GenerationResult;
import io.peft4j.models.generate.Generator;
import io.peft4j.nn.PassSource;
import io.peft4j.state.AtomicFiles;
import io.peft4j.target.Targets;
import io.peft4j.train.EvaluationSettings;
import io.peft4j.train.Interval;
import io.peft4j.train.LearningRateSchedule;
import io.peft4j.train.Losses;
import io.peft4j.train.Trainer;
import io.peft4j.train.TrainerBuilder;
import io.peft4j.train.TrainingProgress;
import io.peft4j.train.TrainingResult;
import io.peft4j.train.Warmup;
import io.peft4j.train.data.InstructionBatches;
import io.peft4j.train.data.InstructionData;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Instruction tuning of a real language model: told to define a word and to say what kind of thing
 * it is, SmolLM2-135M-Instruct learns to answer in WordNet's way. Four ways of training are held
 * against each other on words that none of them saw: by the loss of the right answers, and by how
 * many kinds are named word for word.
 *
 * <p>Arguments: the model (a GGUF file or directory), the directory for data and adapters, and,
 * optionally, how many words to train on.
 */
public final class InstructionTuning {
  private static final int TEST = 200;
  private static final int TRAIN = 2000;
  private static final int BATCH = 8;
  private static final int ROWS = 16;

  private final Path model;
  private final Path output;
  private final List<DefinedWord> test;
  private final Path trainFile;
  private final Path testFile;

  private InstructionTuning(Path model, Path output, int train) {
    this.model = model;
    this.output = output;
    List<List<DefinedWord>> words = WordNetWords.load().split(train, TEST, 1);
    test = words.get(1);
    trainFile = output.resolve("train.jsonl");
    testFile = output.resolve("test.jsonl");
    AtomicFiles.createDirectories(output);
    InstructionFiles.write(trainFile, words.get(0));
    InstructionFiles.write(testFile, test);
  }

  /** What one way of training came to. */
  private record Row(
      String name, long trained, double before, double after, int exact, double seconds) {}

  /**
   * Runs the comparison and prints its table.
   *
   * @param arguments the model, the output directory, and perhaps how many words to train on
   */
  public static void main(String[] arguments) {
    if (arguments.length < 2) {
      System.err.println("usage: InstructionTuning MODEL.gguf|DIR OUTPUT [WORDS]");
      System.exit(2);
    }
    int train = arguments.length > 2 ? Integer.parseInt(arguments[2]) : TRAIN;
    new InstructionTuning(Path.of(arguments[0]), Path.of(arguments[1]), train).run();
  }

  private void run() {
    Map<String, PeftConfig> ways = new LinkedHashMap<>();
    ways.put("LoRA r=8, q_proj v_proj", lora(8, Targets.names("q_proj", "v_proj")));
    ways.put("LoRA r=8, all linear", lora(8, Targets.allLinear()));
    ways.put("LoRA r=64, all linear", lora(64, Targets.allLinear()));
    ways.put("full", FullConfig.builder().build());
    List<Row> rows = new ArrayList<>();
    int untrained = -1;
    for (Map.Entry<String, PeftConfig> way : ways.entrySet()) {
      try (Tokenizer tokenizer = Tokenizer.load(model);
          PretrainedModel base = PretrainedModel.load(model)) {
        if (untrained < 0) {
          untrained = exact(base, tokenizer, null);
        }
        rows.add(train(way.getKey(), way.getValue(), base, tokenizer));
      }
    }
    print(rows, untrained);
  }

  private static PeftConfig lora(int rank, Targets targets) {
    return LoraConfig.builder()
        .rank(rank)
        .alpha(2 * rank)
        .targetModules(targets)
        .taskType(TaskType.CAUSAL_LM)
        .build();
  }

  private Row train(String name, PeftConfig config, PretrainedModel base, Tokenizer tokenizer) {
    InstructionData data = InstructionData.builder(tokenizer).files(trainFile).build();
    InstructionData held = InstructionData.builder(tokenizer).files(testFile).build();
    boolean full = config instanceof FullConfig;
    try (PeftModel adapted = Peft.wrap(base, config)) {
      InstructionBatches batches =
          InstructionBatches.builder(data).batchSize(BATCH).lengthGrouped(true).seed(1).build();
      TrainerBuilder trainer =
          Trainer.builder()
              .model(adapted)
              .loss(Losses.causalLanguageModel())
              .batches(batches)
              .learningRate(full ? FullConfig.LEARNING_RATE : 5e-4)
              .schedule(LearningRateSchedule.linear(Warmup.ratio(0.05)))
              .epochs(1)
              .seed(1)
              .evaluation(
                  EvaluationSettings.builder(
                          InstructionBatches.builder(held).batchSize(ROWS).shuffled(false).build())
                      .every(Interval.never())
                      .build());
      double before = heldOut(adapted, held);
      TrainingProgress progress = TrainingProgress.start(name, trainer.build().totalSteps());
      TrainingResult result = trainer.listener(progress).build().run();
      double after = result.evaluations().get(result.evaluations().size() - 1).loss();
      if (!full) {
        adapted.save(output.resolve(name.replaceAll("[^a-z0-9A-Z=]+", "-")));
      }
      return new Row(
          name,
          adapted.trainableParameterReport().trainable(),
          before,
          after,
          exact(
              adapted, tokenizer, output.resolve(name.replaceAll("[^a-z0-9A-Z=]+", "-") + ".txt")),
          result.seconds());
    }
  }

  /** The loss of held-out answers, by a run that changes nothing. */
  private static double heldOut(PeftModel model, InstructionData held) {
    double sum = 0;
    long items = 0;
    io.peft4j.train.Loss loss = Losses.causalLanguageModel();
    InstructionBatches batches =
        InstructionBatches.builder(held).batchSize(ROWS).shuffled(false).build();
    var all = batches.epoch(0);
    while (all.hasNext()) {
      try (var batch = all.next();
          ai.djl.ndarray.NDScope scope = new ai.djl.ndarray.NDScope()) {
        scope.suppressNotUsedWarning();
        long counted = loss.items(batch.labels());
        sum += counted * loss.compute(model.forward(batch.inputs()), batch.labels()).getFloat();
        items += counted;
      }
    }
    return sum / items;
  }

  /** How many kinds are named word for word. */
  private int exact(PassSource source, Tokenizer tokenizer, @Nullable Path transcript) {
    Generator generator = Generator.of(source, tokenizer);
    GenerationOptions options = GenerationOptions.builder().maxNewTokens(48).build();
    int right = 0;
    StringBuilder text = new StringBuilder();
    for (int from = 0; from < test.size(); from += ROWS) {
      List<DefinedWord> words = test.subList(from, Math.min(test.size(), from + ROWS));
      List<long[]> prompts = new ArrayList<>();
      for (DefinedWord word : words) {
        String prompt =
            tokenizer
                .chatTemplate()
                .orElseThrow()
                .render(List.of(ChatMessage.user(word.question())), true);
        prompts.add(tokenizer.ids(prompt, false));
      }
      List<GenerationResult> answers = generator.generate(prompts, options);
      for (int i = 0; i < words.size(); i++) {
        String answer = answers.get(i).text();
        right += words.get(i).namesHypernym(answer) ? 1 : 0;
        text.append(words.get(i).question()).append("\n  ").append(answer.strip()).append('\n');
      }
    }
    if (transcript != null) {
      AtomicFiles.writeString(transcript, text.toString());
    }
    return right;
  }

  private static void print(List<Row> rows, int untrained) {
    System.out.println("| | trained parameters | held-out loss | kind named | training |");
    System.out.println("|---|---:|---:|---:|---:|");
    System.out.printf(
        Locale.ROOT,
        "| as it comes | | %.3f | %.1f%% | |%n",
        rows.get(0).before(),
        100.0 * untrained / TEST);
    for (Row row : rows) {
      System.out.printf(
          Locale.ROOT,
          "| %s | %,d | %.3f | %.1f%% | %.0f s |%n",
          row.name(),
          row.trained(),
          row.after(),
          100.0 * row.exact() / TEST,
          row.seconds());
    }
  }
}
