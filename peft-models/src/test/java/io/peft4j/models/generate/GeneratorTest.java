package io.peft4j.models.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDManager;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftException;
import io.peft4j.models.InvalidInputException;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.Tokenizer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** Listeners, limits, errors, threads and memory of a generator. */
final class GeneratorTest {
  private static final long[] PROMPT = {1, 17, 42, 9, 63, 88, 5};
  private static PretrainedModel model;
  private static Tokenizer tokenizer;
  private static Generator generator;

  @BeforeAll
  static void load() {
    model = Cases.model("llama");
    tokenizer = Cases.tokenizer();
    generator = Generator.of(model, tokenizer);
  }

  @AfterAll
  static void close() {
    model.close();
    tokenizer.close();
  }

  private static GenerationOptionsBuilder tokens(int count) {
    return GenerationOptions.builder().maxNewTokens(count);
  }

  private static int liveArrays() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      return manager.getParentManager().getManagedArrays().size();
    }
  }

  private static void refused(
      Executable run, Class<? extends PeftException> type, String... parts) {
    String message = assertThrows(type, run).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), "'" + part + "' is not in: " + message);
    }
  }

  // --- listening ------------------------------------------------------------------------------

  @Test
  void aListenerIsToldEachTokenAndAllTheText() {
    List<long[]> prompts = List.of(PROMPT, new long[] {1, 30, 71});
    List<GenerationResult> silent = generator.generate(prompts, tokens(20).build());
    List<List<Long>> told = List.of(new ArrayList<>(), new ArrayList<>());
    List<StringBuilder> texts = List.of(new StringBuilder(), new StringBuilder());
    List<GenerationResult> results =
        generator.generate(
            prompts,
            tokens(20).build(),
            token -> {
              texts.get(token.prompt()).append(token.text());
              return told.get(token.prompt()).add(token.token());
            });
    assertEquals(silent, results);
    for (int i = 0; i < results.size(); i++) {
      assertArrayEquals(
          results.get(i).tokens(), told.get(i).stream().mapToLong(Long::longValue).toArray());
      assertEquals(results.get(i).text(), texts.get(i).toString());
    }
  }

  @Test
  void aListenerEndsItsOwnRowOnly() {
    List<long[]> prompts = List.of(PROMPT, PROMPT);
    int[] count = new int[1];
    List<GenerationResult> results =
        generator.generate(
            prompts, tokens(10).build(), token -> token.prompt() == 1 || ++count[0] < 3);
    assertEquals(FinishReason.CANCELLED, results.get(0).reason());
    assertEquals(3, results.get(0).tokens().length);
    assertEquals(FinishReason.LENGTH, results.get(1).reason());
    assertEquals(10, results.get(1).tokens().length);
  }

  @Test
  void beamsAreNotTold() {
    refused(
        () -> generator.generate(List.of(PROMPT), tokens(5).beams(2).build(), token -> true),
        InvalidInputException.class,
        "one beam",
        "2");
  }

  // --- limits ---------------------------------------------------------------------------------

  @Test
  void aFullContextEndsTheTextOfItsRow() {
    long[] longest = LongStream.range(0, 60).map(i -> 5 + i).toArray();
    for (int beams : new int[] {1, 2}) {
      GenerationOptions options = tokens(30).endTokens().beams(beams).build();
      List<GenerationResult> results = generator.generate(List.of(longest, PROMPT), options);
      assertEquals(FinishReason.CONTEXT, results.get(0).reason());
      assertEquals(4, results.get(0).tokens().length);
      assertEquals(FinishReason.LENGTH, results.get(1).reason());
      assertEquals(
          results.get(1), generator.generate(List.of(PROMPT), options).get(0), "beams " + beams);
    }
  }

  @Test
  void aPromptThatLeavesNoRoomIsRefused() {
    for (int length : new int[] {64, 65, 1000}) {
      long[] prompt = LongStream.range(0, length).map(i -> 5 + i % 90).toArray();
      refused(
          () -> generator.generate(List.of(prompt), tokens(1).build()),
          InvalidInputException.class,
          length + " tokens",
          "context",
          "64");
    }
  }

  @Test
  void anEmptyPromptBeginsWithTheFirstToken() {
    assertEquals(
        generator.generate(List.of(new long[] {1}), tokens(8).build()),
        generator.generate(List.of(new long[0]), tokens(8).build()));
  }

  @Test
  void theDefaultsOfTransformersApply() {
    GenerationResult result = generator.generate("the stop");
    assertEquals(20, result.tokens().length);
    long[] ids = tokenizer.ids("the stop", true);
    assertEquals(1, ids[0]);
    assertEquals(result, generator.generate(List.of(ids), tokens(20).build()).get(0));
  }

  @Test
  void anEndTokenIsKeptAndItsTextIsNot() {
    long[] plain =
        generator.generate(List.of(PROMPT), tokens(8).endTokens().build()).get(0).tokens();
    GenerationResult ended =
        generator.generate(List.of(PROMPT), tokens(8).endTokens(plain[1]).build()).get(0);
    assertArrayEquals(new long[] {plain[0], plain[1]}, ended.tokens());
    assertEquals(FinishReason.END_TOKEN, ended.reason());
    assertEquals(3, plain[1], "the test wants a special token here");
    assertEquals(tokenizer.decode(new long[] {plain[0]}, true), ended.text());
  }

  // --- the model's defaults -------------------------------------------------------------------

  private static Path copy(Path target, String generationConfig) throws Exception {
    for (String file : new String[] {"config.json", "model.safetensors"}) {
      Files.copy(Cases.directory("llama").resolve(file), target.resolve(file));
    }
    Files.writeString(target.resolve("generation_config.json"), generationConfig);
    return target;
  }

  @Test
  void whatIsNotSetIsAsTheModelSays(@TempDir Path directory) throws Exception {
    copy(
        directory,
        "{\"eos_token_id\": [3, 28], \"repetition_penalty\": 1.3, \"max_length\": 15,"
            + " \"num_beams\": 2, \"early_stopping\": \"never\", \"length_penalty\": 0.5,"
            + " \"min_length\": 9, \"stop_strings\": \"zz\"}");
    try (PretrainedModel own = PretrainedModel.load(directory)) {
      GenerationOptions same =
          tokens(8)
              .endTokens(3, 28)
              .repetitionPenalty(1.3)
              .beams(2)
              .earlyStopping(EarlyStopping.NEVER)
              .lengthPenalty(0.5)
              .minNewTokens(2)
              .stopStrings(List.of("zz"))
              .build();
      Generator with = Generator.of(own, tokenizer);
      assertEquals(
          generator.generate(List.of(PROMPT), same),
          with.generate(List.of(PROMPT), GenerationOptions.defaults()));
      assertEquals(
          generator.generate(List.of(PROMPT), tokens(12).endTokens(3, 28).build()),
          with.generate(List.of(PROMPT), tokens(12).withoutModelDefaults().build()));
      refused(
          () ->
              with.generate(
                  List.of(LongStream.range(1, 20).toArray()), GenerationOptions.defaults()),
          InvalidInputException.class,
          "max_length",
          "15");
    }
  }

  @Test
  void defaultsThatAreNotImplementedAreRefused(@TempDir Path directory) throws Exception {
    copy(directory, "{\"eos_token_id\": 2, \"no_repeat_ngram_size\": 3}");
    try (PretrainedModel own = PretrainedModel.load(directory)) {
      Generator with = Generator.of(own, tokenizer);
      refused(
          () -> with.generate(List.of(PROMPT), tokens(3).build()),
          InvalidConfigException.class,
          "generation_config.json",
          "no_repeat_ngram_size 3");
      assertEquals(
          3,
          with.generate(List.of(PROMPT), tokens(3).withoutModelDefaults().build())
              .get(0)
              .tokens()
              .length);
    }
  }

  @Test
  void damagedDefaultsAreNamed(@TempDir Path root) throws Exception {
    String[][] damaged = {
      {"{\"eos_token_id\": \"two\"}", "eos_token_id"},
      {"{\"eos_token_id\": [2, -1]}", "eos_token_id"},
      {"{\"temperature\": 0}", "temperature"},
      {"{\"top_p\": 2}", "top_p"},
      {"{\"num_beams\": 1.5}", "num_beams"},
      {"{\"early_stopping\": \"maybe\"}", "early_stopping"},
      {"{\"stop_strings\": [1]}", "stop_strings"},
      {"{\"do_sample\": true, \"num_beams\": 3}", "beams"}
    };
    for (int i = 0; i < damaged.length; i++) {
      Path directory = Files.createDirectory(root.resolve("case" + i));
      copy(directory, damaged[i][0]);
      String part = damaged[i][1];
      try (PretrainedModel own = PretrainedModel.load(directory)) {
        refused(
            () -> Generator.of(own, tokenizer).generate(List.of(PROMPT), tokens(3).build()),
            InvalidConfigException.class,
            part);
      }
    }
  }

  // --- errors ---------------------------------------------------------------------------------

  @Test
  void optionsOutOfRangeAreRefused() {
    refused(() -> tokens(0).build(), InvalidConfigException.class, "maxNewTokens", "0");
    refused(() -> tokens(1).temperature(0).build(), InvalidConfigException.class, "temperature");
    refused(() -> tokens(1).topP(1.1).build(), InvalidConfigException.class, "topP", "1.1");
    refused(() -> tokens(1).minP(Double.NaN).build(), InvalidConfigException.class, "minP");
    refused(() -> tokens(1).topK(-1).build(), InvalidConfigException.class, "topK");
    refused(() -> tokens(1).beams(0).build(), InvalidConfigException.class, "beams");
    refused(() -> tokens(1).repetitionPenalty(-2).build(), InvalidConfigException.class, "-2");
    refused(() -> tokens(1).stopStrings(List.of("")).build(), InvalidConfigException.class, "stop");
    refused(
        () -> tokens(1).sample(true).beams(2).build(), InvalidConfigException.class, "beams = 2");
  }

  @Test
  void modelsThatAreNotCausalAreRefused() {
    try (PretrainedModel bert = Cases.model("bert")) {
      refused(
          () -> Generator.of(bert, tokenizer),
          InvalidInputException.class,
          "BertModel",
          "not a causal language model");
    }
  }

  @Test
  void tokensThatTheModelHasNotAreRefused() {
    refused(
        () -> generator.generate(List.of(new long[] {1, 100}), tokens(1).build()),
        InvalidInputException.class,
        "100",
        "99",
        "tokenizer");
    refused(
        () -> generator.generate(List.of(), tokens(1).build()),
        InvalidInputException.class,
        "at least one prompt");
  }

  @Test
  void aClosedModelIsRefused() {
    PretrainedModel closed = Cases.model("llama");
    Generator over = Generator.of(closed, tokenizer);
    closed.close();
    assertThrows(
        AdapterStateException.class, () -> over.generate(List.of(PROMPT), tokens(2).build()));
  }

  // --- memory and threads ---------------------------------------------------------------------

  @Test
  void nothingNativeIsLeftBehind() {
    List<long[]> prompts = List.of(PROMPT, new long[] {1, 30, 71});
    generator.generate(prompts, tokens(3).build());
    int before = liveArrays();
    generator.generate(prompts, tokens(70).build());
    generator.generate(prompts, tokens(10).beams(3).build());
    generator.generate(prompts, tokens(10).sample(true).build());
    generator.generate(prompts, tokens(10).build(), token -> false);
    assertEquals(before, liveArrays(), "after generating");
    assertThrows(
        ArithmeticException.class,
        () ->
            generator.generate(
                prompts,
                tokens(10).build(),
                token -> {
                  throw new ArithmeticException("the listener's own");
                }));
    refused(
        () -> generator.generate(List.of(new long[] {777}), tokens(1).build()),
        InvalidInputException.class);
    assertEquals(before, liveArrays(), "after failing");
  }

  @Test
  void threadsShareAGenerator() throws Exception {
    GenerationOptions options = tokens(15).build();
    List<GenerationResult> expected = generator.generate(List.of(PROMPT), options);
    ExecutorService threads = Executors.newFixedThreadPool(4);
    try {
      List<Future<List<GenerationResult>>> answers = new ArrayList<>();
      for (int i = 0; i < 8; i++) {
        answers.add(threads.submit(() -> generator.generate(List.of(PROMPT), options)));
      }
      for (Future<List<GenerationResult>> answer : answers) {
        assertEquals(expected, answer.get());
      }
    } finally {
      threads.shutdownNow();
    }
  }
}
