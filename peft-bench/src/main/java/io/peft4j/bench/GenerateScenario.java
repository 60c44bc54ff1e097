package io.peft4j.bench;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterSet;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.lora.LoraConfig;
import io.peft4j.lora.LoraInitialization;
import io.peft4j.models.CausalDecoder;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.SaveOptions;
import io.peft4j.nn.PassSource;
import io.peft4j.qlora.BitsAndBytesConfig;
import io.peft4j.state.TensorType;
import io.peft4j.target.Targets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * Text generation with LoRA of rank 8 on all linear layers, over bases stored in bfloat16: the rate
 * of new tokens, of prompts, of eight rows with one adapter and with eight, and the memory.
 */
final class GenerateScenario {
  private static final int ROWS = 8;
  private static final int ROUNDS = 5;

  private GenerateScenario() {}

  private static Path directory(Settings settings, BaseShape shape) {
    return settings.models().resolve("generate-" + name(shape));
  }

  private static String name(BaseShape shape) {
    return shape == BaseShape.LLAMA ? "135m" : "1b";
  }

  /** Writes a base and an adapter that has an effect. */
  static void prepare(Settings settings, BaseShape shape) {
    Path directory = directory(settings, shape);
    if (Files.exists(directory.resolve("adapter"))) {
      return;
    }
    LoraConfig lora =
        LoraConfig.builder()
            .rank(8)
            .alpha(16)
            .targetModules(Targets.allLinear())
            .initialization(LoraInitialization.Kind.RANDOM)
            .build();
    try (PretrainedModel base = shape.random(settings.tiny());
        PeftModel model = Peft.wrap(base, lora)) {
      base.save(directory, SaveOptions.builder().type(TensorType.BF16).build());
      model.save(directory.resolve("adapter"));
    }
  }

  static void run(Settings settings, BaseShape shape) {
    Figures figures = new Figures(settings.output());
    String prefix = "generate." + name(shape) + ".";
    Path directory = directory(settings, shape);
    int tokens = settings.tiny() ? 16 : 256;
    try (PretrainedModel base = PretrainedModel.load(directory);
        PeftModel model = Peft.load(base, directory.resolve("adapter"))) {
      List<String> names = new ArrayList<>(List.of("default"));
      for (int i = 1; i < ROWS; i++) {
        names.add("adapter" + i);
        model.loadAdapter("adapter" + i, directory.resolve("adapter"));
      }
      int vocabulary = shape.config(settings.tiny()).get("vocab_size").asInt();
      PassSource one = model.with("default");
      decode(one, vocabulary, 1, 16);
      double best = 0;
      double prompt = 0;
      for (int i = 0; i < ROUNDS; i++) {
        best = Math.max(best, decode(one, vocabulary, 1, tokens));
        prompt = Math.max(prompt, prompt(one, vocabulary, settings.tiny() ? 32 : 512));
      }
      figures.add(prefix + "decode.tokens_per_second", best);
      figures.add(prefix + "prompt.tokens_per_second", prompt);
      double same = 0;
      double different = 0;
      for (int i = 0; i < ROUNDS; i++) {
        same = Math.max(same, decode(one, vocabulary, ROWS, tokens / 4));
        PassSource rows = model.with(AdapterSet.rows(names));
        different = Math.max(different, decode(rows, vocabulary, ROWS, tokens / 4));
      }
      figures.add(prefix + "rows.one_adapter.tokens_per_second", same);
      figures.add(prefix + "rows.eight_adapters.tokens_per_second", different);
      figures.add(prefix + "rows.eight_to_one.ratio", different / same);
    }
  }

  /** The same base quantized to NF4 as it is loaded; one row with one adapter. */
  static void fourBit(Settings settings) {
    Figures figures = new Figures(settings.output());
    Path directory = directory(settings, BaseShape.LLAMA);
    LoadOptions options =
        LoadOptions.builder()
            .quantization(BitsAndBytesConfig.builder().doubleQuantization(true).build())
            .build();
    int vocabulary = BaseShape.LLAMA.config(settings.tiny()).get("vocab_size").asInt();
    int tokens = settings.tiny() ? 16 : 128;
    try (PretrainedModel base = PretrainedModel.load(directory, options);
        PeftModel model = Peft.load(base, directory.resolve("adapter"))) {
      PassSource one = model.with("default");
      decode(one, vocabulary, 1, 16);
      double best = 0;
      double prompt = 0;
      for (int i = 0; i < ROUNDS; i++) {
        best = Math.max(best, decode(one, vocabulary, 1, tokens));
        prompt = Math.max(prompt, prompt(one, vocabulary, settings.tiny() ? 32 : 512));
      }
      figures.add("generate.4bit.decode.tokens_per_second", best);
      figures.add("generate.4bit.prompt.tokens_per_second", prompt);
      figures.add("generate.4bit.resident.mib", Figures.residentMebibytes());
    }
  }

  /** Tokens a second after prompts of 16 tokens. */
  private static double decode(PassSource source, int vocabulary, int rows, int tokens) {
    try (CausalDecoder decoder =
        CausalDecoder.start(source, prompts(vocabulary, rows, 16), 1, tokens)) {
      long begin = System.nanoTime();
      for (int i = 0; i < tokens; i++) {
        decoder.step(decoder.best());
      }
      decoder.best();
      return rows * tokens / ((System.nanoTime() - begin) / 1e9);
    }
  }

  /** Tokens of one prompt a second. */
  private static double prompt(PassSource source, int vocabulary, int length) {
    List<long[]> prompts = prompts(vocabulary, 1, length);
    long begin = System.nanoTime();
    try (CausalDecoder decoder = CausalDecoder.start(source, prompts, 1, 1)) {
      decoder.best();
      return length / ((System.nanoTime() - begin) / 1e9);
    }
  }

  private static List<long[]> prompts(int vocabulary, int rows, int length) {
    Random random = new Random(1);
    List<long[]> prompts = new ArrayList<>();
    for (int i = 0; i < rows; i++) {
      prompts.add(random.longs(length, 3, vocabulary).toArray());
    }
    return prompts;
  }

  /** From nothing to the first token, in a process of its own. */
  static void firstToken(Settings settings, BaseShape shape) {
    try (PretrainedModel base = PretrainedModel.load(directory(settings, shape))) {
      int vocabulary = shape.config(settings.tiny()).get("vocab_size").asInt();
      decode(base, vocabulary, 1, 0);
    }
  }

  /** What a base takes beside its file's size, after its first token and while tokens are made. */
  static void memory(Settings settings, BaseShape shape) {
    Path directory = directory(settings, shape);
    Figures figures = new Figures(settings.output());
    String prefix = "generate." + name(shape) + ".";
    try (NDManager engine = NDManager.newBaseManager("PyTorch");
        NDArray some = engine.ones(new Shape(64, 64))) {
      // Not the model's: the machine, the engine and its libraries.
      some.matMul(some).close();
      double before = Figures.residentMebibytes();
      double file = directory.resolve("model.safetensors").toFile().length() / 1048576.0;
      try (PretrainedModel base = PretrainedModel.load(directory)) {
        int vocabulary = shape.config(settings.tiny()).get("vocab_size").asInt();
        decode(base, vocabulary, 1, 0);
        double first = Figures.residentMebibytes() - before;
        figures.add(prefix + "first.base_to_file.ratio", first / file);
        decode(base, vocabulary, 1, 32);
        double decoding = Figures.residentMebibytes() - before;
        figures.add(prefix + "decoding.base_to_file.ratio", decoding / file);
      }
    }
  }

  /** A GGUF file, to be compared with llama.cpp. */
  static void gguf(Settings settings) {
    Path file = settings.gguf();
    Figures figures = new Figures(settings.output());
    try (PretrainedModel base = PretrainedModel.load(file)) {
      decode(base, 1000, 1, 16);
      double best = 0;
      double prompt = 0;
      for (int i = 0; i < ROUNDS; i++) {
        best = Math.max(best, decode(base, 1000, 1, 128));
        prompt = Math.max(prompt, prompt(base, 1000, 512));
      }
      figures.add("gguf.decode.tokens_per_second", best);
      figures.add("gguf.prompt.tokens_per_second", prompt);
    }
  }
}
