package io.peft4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.AdapterSet;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.Tokenizer;
import io.peft4j.models.chat.ChatMessage;
import io.peft4j.models.generate.GenerationOptions;
import io.peft4j.models.generate.GenerationResult;
import io.peft4j.models.generate.Generator;
import io.peft4j.state.Json;
import io.peft4j.testkit.LiveArrays;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** generate, chat and perplexity, and generation with adapters. */
final class GenerateCommandTest {
  private static final String TEXT = "the stop and you";
  @TempDir private static Path base;

  @BeforeAll
  static void putTogether() throws IOException {
    copy(Cli.model("llama"), base);
    copy(Cli.GOLDEN.resolve("generation").resolve("tokenizer"), base);
  }

  private static void copy(Path from, Path to) throws IOException {
    try (Stream<Path> files = Files.list(from)) {
      for (Path file : files.toList()) {
        Files.copy(file, to.resolve(file.getFileName()));
      }
    }
  }

  /** What the library generates by itself. */
  private static GenerationResult expected(GenerationOptions options, boolean chat) {
    try (PretrainedModel model = PretrainedModel.load(base);
        Tokenizer tokenizer = Tokenizer.load(base)) {
      long[] ids =
          chat
              ? tokenizer.ids(
                  tokenizer
                      .chatTemplate()
                      .orElseThrow()
                      .render(List.of(ChatMessage.user(TEXT)), true),
                  false)
              : tokenizer.ids(TEXT, true);
      return Generator.of(model, tokenizer).generate(List.of(ids), options).get(0);
    }
  }

  private static GenerationOptions tokens(int count) {
    return GenerationOptions.builder().maxNewTokens(count).build();
  }

  private static Cli generate(Object... more) {
    List<Object> args = new ArrayList<>(List.of("generate", "--base", base, "--prompt", TEXT));
    args.addAll(Arrays.asList(more));
    return Cli.run(args.toArray());
  }

  // --- generate -------------------------------------------------------------------------------

  @Test
  void textOrTokensAndNothingElse() {
    GenerationResult expected = expected(tokens(12), false);
    String line = System.lineSeparator();
    assertEquals(
        expected.text() + line, generate("--max-new-tokens", 12, "--greedy").succeeded().out());
    StringBuilder ids = new StringBuilder();
    for (long token : expected.tokens()) {
      ids.append(ids.isEmpty() ? "" : " ").append(token);
    }
    assertEquals(ids + line, generate("--max-new-tokens", 12, "--ids").succeeded().out());
    assertEquals(
        ids + line,
        generate("--max-new-tokens", 12, "--ids", "--dtype", "float32").succeeded().out());
  }

  @Test
  void chatGoesThroughTheTemplate() {
    assertNotEquals(expected(tokens(12), false), expected(tokens(12), true));
    assertEquals(
        expected(tokens(12), true).text() + System.lineSeparator(),
        generate("--max-new-tokens", 12, "--chat").succeeded().out());
  }

  @Test
  void beamsAndStopStringsArriveThere() {
    GenerationOptions beams = tokens(10).toBuilder().beams(3).repetitionPenalty(1.4).build();
    assertEquals(
        expected(beams, false).text() + System.lineSeparator(),
        generate("--max-new-tokens", 10, "--num-beams", 3, "--repetition-penalty", 1.4)
            .succeeded()
            .out());
    String text = expected(tokens(20), false).text();
    String stop = text.substring(4, 6);
    assertEquals(
        text.substring(0, text.indexOf(stop)) + System.lineSeparator(),
        generate("--max-new-tokens", 20, "--stop", "zzz", "--stop", stop).succeeded().out());
  }

  @Test
  void drawnTextsRepeatWithTheirSeed() {
    Object[] drawing = {"--max-new-tokens", 20, "--temperature", 1.5, "--top-p", 0.95, "--seed"};
    Object[] one = Arrays.copyOf(drawing, 8);
    one[7] = 1;
    Object[] two = Arrays.copyOf(drawing, 8);
    two[7] = 2;
    assertEquals(generate(one).succeeded().out(), generate(one).succeeded().out());
    assertNotEquals(generate(one).succeeded().out(), generate(two).succeeded().out());
    generate("--top-k", 5, "--min-p", 0.1, "--max-new-tokens", 3).succeeded();
  }

  @Test
  void adaptersActTogether() {
    String plain = generate("--max-new-tokens", 12, "--ids").out();
    String one =
        generate("--max-new-tokens", 12, "--ids", "--adapter", Cli.multi("llama", "a"))
            .succeeded()
            .out();
    String both =
        generate(
                "--max-new-tokens",
                12,
                "--ids",
                "--adapter",
                "a=" + Cli.multi("llama", "a"),
                "--adapter",
                "b=" + Cli.multi("llama", "b"))
            .succeeded()
            .out();
    assertNotEquals(plain, one);
    assertNotEquals(one, both);
  }

  @Test
  void whatCannotBeIsOneLine(@TempDir Path empty) throws IOException {
    generate("--greedy", "--temperature", 0.5).refused("--greedy", "--temperature");
    generate("--num-beams", 2, "--top-k", 5).refused("beams");
    generate("--temperature", 0).refused("temperature", "above 0");
    generate("--max-new-tokens", 0).refused("maxNewTokens", "at least 1");
    generate("--dtype", "f16").refused("--dtype", "float32", "bf16", "f16");
    generate("--adapter", base.resolve("no")).refused("--adapter", "no");
    generate("--prompt").refused("--prompt");
    Cli.run("generate", "--base", base).refused("--prompt");
    Cli.run("generate", "--base", base, "--prompt", "a ".repeat(100))
        .refused("context", "64", "tokens");
    Cli.run("generate", "--base", empty.resolve("no"), "--prompt", "a")
        .refused("--base", "does not exist");
    // A base without tokenizer, one that is no language model, and one without chat template.
    Cli.run("generate", "--base", Cli.model("llama"), "--prompt", "a").refused("tokenizer.json");
    copy(Cli.model("bert"), empty);
    copy(Cli.GOLDEN.resolve("generation").resolve("tokenizer"), empty);
    Cli.run("generate", "--base", empty, "--prompt", "a")
        .refused("BertModel", "not a causal language model");
    Files.delete(empty.resolve("chat_template.jinja"));
    copy2(Cli.model("llama"), empty);
    Cli.run("generate", "--base", empty, "--prompt", "a", "--chat").refused("no chat template");
    Cli.run("chat", "--base", empty).refused("no chat template");
  }

  private static void copy2(Path from, Path to) throws IOException {
    for (String file : new String[] {"config.json", "model.safetensors"}) {
      Files.write(to.resolve(file), Files.readAllBytes(from.resolve(file)));
    }
  }

  // --- chat -----------------------------------------------------------------------------------

  private static Cli chat(String input, Object... more) {
    InputStream before = System.in;
    System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
    try {
      List<Object> args = new ArrayList<>(List.of("chat", "--base", base));
      args.addAll(Arrays.asList(more));
      return Cli.run(args.toArray());
    } finally {
      System.setIn(before);
    }
  }

  @Test
  void aConversationGoesOnUntilItIsReset() {
    String answer = expected(tokens(6), true).text();
    String line = System.lineSeparator();
    String once = chat(TEXT + "\n/exit\n", "--max-new-tokens", 6).succeeded().out();
    assertEquals("> " + answer + line + "> ", once);
    String reset =
        chat(TEXT + "\n\n/reset\n" + TEXT + "\n", "--max-new-tokens", 6).succeeded().out();
    assertEquals("> " + answer + line + "> > > " + answer + line + "> ", reset);
    String system = chat(TEXT + "\n", "--max-new-tokens", 6, "--system", "an op").succeeded().out();
    assertNotEquals(once, system);
    String twice = chat(TEXT + "\n" + TEXT + "\n", "--max-new-tokens", 6).succeeded().out();
    assertTrue(twice.startsWith("> " + answer + line + "> "), twice);
    assertNotEquals("> " + answer + line + "> " + answer + line + "> ", twice);
  }

  @Test
  void aLongConversationForgetsItsBeginning() {
    String input = ("in and on\n").repeat(8);
    Cli run = chat(input, "--max-new-tokens", 8).succeeded();
    assertEquals(9, run.out().split("> ", -1).length - 1, run.out());
  }

  @Test
  void whatIsTooLongToSayIsRefusedAndTheConversationGoesOn() {
    Cli run = chat("a ".repeat(100) + "\n" + TEXT + "\n", "--max-new-tokens", 6);
    assertEquals(0, run.code());
    assertEquals(1, run.err().lines().count(), run.err());
    assertTrue(run.err().startsWith("peft: that is too long"), run.err());
    String line = System.lineSeparator();
    assertEquals("> > " + expected(tokens(6), true).text() + line + "> ", run.out());
  }

  // --- perplexity -----------------------------------------------------------------------------

  @Test
  void perplexityIsThatOfTransformers(@TempDir Path directory) throws IOException {
    JsonNode golden =
        Json.readObject(Cli.GOLDEN.resolve("generation").resolve("cases.json"))
            .path("perplexity")
            .get(0);
    Path file = Files.writeString(directory.resolve("text.txt"), golden.path("file").textValue());
    String out = Cli.run("perplexity", "--base", base, "--text", file).succeeded().out();
    assertTrue(
        out.matches("perplexity=\\d+\\.\\d+ nll=\\d+\\.\\d+ tokens=\\d+\\R"), "'" + out + "'");
    String[] words = out.strip().split("[= ]");
    double nll = golden.path("nll").doubleValue();
    assertEquals(nll, Double.parseDouble(words[3]), 1e-5);
    assertEquals(Math.exp(nll), Double.parseDouble(words[1]), 1e-3);
    assertEquals(golden.path("tokens").intValue(), Integer.parseInt(words[5]));
    assertNotEquals(
        out,
        Cli.run("perplexity", "--base", base, "--text", file, "--adapter", Cli.multi("llama", "a"))
            .succeeded()
            .out());
  }

  @Test
  void textsThatCannotBeScoredAreRefused(@TempDir Path directory) throws IOException {
    Path file = directory.resolve("text.txt");
    Object[] args = {"perplexity", "--base", base, "--text", file};
    Cli.run(args).refused("text.txt");
    Files.writeString(file, "a ".repeat(100));
    Cli.run(args).refused("context", "64");
    Files.writeString(file, " \n ");
    Cli.run(args).refused("two tokens");
    Files.write(file, new byte[] {(byte) 0xff, 'a'});
    Cli.run(args).refused("UTF-8");
  }

  @Test
  void spaceAroundATextIsWhatPythonTakesForSpace() {
    assertEquals("a b", PerplexityCommand.strip("\u00a0\u2007\n\u0085\u001c a b \u3000\t"));
    assertEquals("\u200ba", PerplexityCommand.strip(" \u200ba"));
    assertEquals("", PerplexityCommand.strip(" \n"));
  }

  // --- adapters by row ------------------------------------------------------------------------

  @Test
  void eachRowIsGeneratedWithItsAdapter() {
    JsonNode cases =
        Json.readObject(Cli.GOLDEN.resolve("generation").resolve("cases.json")).path("adapted");
    int before = LiveArrays.count();
    try (PretrainedModel model = PretrainedModel.load(base);
        Tokenizer tokenizer = Tokenizer.load(base);
        PeftModel adapted = Peft.open(model)) {
      for (String name : List.of("a", "c")) {
        adapted.loadAdapter(name, Cli.multi("llama", name));
      }
      for (JsonNode each : cases) {
        JsonNode options = each.path("options");
        List<String> names = new ArrayList<>();
        each.path("adapters").forEach(name -> names.add(name.textValue()));
        // In this order, and in one that puts rows with the same adapter apart.
        int[][] orders = {{0, 1, 2}, {2, 0, 1, 2, 0, 1}};
        for (int[] order : orders) {
          List<long[]> prompts = new ArrayList<>();
          List<String> rows = new ArrayList<>();
          for (int i : order) {
            prompts.add(longs(each.path("prompts").get(i)));
            rows.add(names.get(i));
          }
          List<GenerationResult> results =
              Generator.of(adapted.with(AdapterSet.rows(rows)), tokenizer)
                  .generate(
                      prompts,
                      GenerationOptions.builder()
                          .maxNewTokens(options.path("max_new_tokens").intValue())
                          .beams(options.path("num_beams").asInt(1))
                          .build());
          for (int i = 0; i < order.length; i++) {
            assertEquals(
                Arrays.toString(longs(each.path("tokens").get(order[i]))),
                Arrays.toString(results.get(i).tokens()),
                options + " row " + i);
          }
        }
      }
    }
    LiveArrays.assertCount(before, "generating with adapters by row");
  }

  private static long[] longs(JsonNode list) {
    long[] values = new long[list.size()];
    for (int i = 0; i < values.length; i++) {
      values[i] = list.get(i).longValue();
    }
    return values;
  }
}
