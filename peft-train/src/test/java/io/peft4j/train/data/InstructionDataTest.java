package io.peft4j.train.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftException;
import io.peft4j.TextEncoder;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What rows become, and what is said of those that become nothing. */
class InstructionDataTest {
  @TempDir private Path directory;

  private Path file(String... lines) throws IOException {
    return Files.writeString(
        Files.createTempFile(directory, "rows", ".jsonl"), String.join("\n", lines));
  }

  private static InstructionData.Builder builder(Path... files) {
    return InstructionData.builder(new Letters()).files(files);
  }

  /** The tokens as text, with those that are not trained in lower case before a bar. */
  private static String shown(InstructionData data, int row) {
    Example example = data.read(row)[0];
    StringBuilder ids = new StringBuilder();
    StringBuilder labels = new StringBuilder();
    for (int i = 0; i < example.length(); i++) {
      ids.append((char) example.ids()[i]);
      labels.append(example.labels()[i] < 0 ? '_' : (char) example.labels()[i]);
    }
    return (ids + " " + labels).replace('\u0001', '^');
  }

  private void assertRow(
      String expected, String row, UnaryOperator<InstructionData.Builder> settings)
      throws IOException {
    InstructionData data = settings.apply(builder(file(row))).build();
    assertEquals(expected, shown(data, 0));
  }

  @Test
  void formsAreTokenizedAsTrlDoes() throws IOException {
    assertRow("^ab. ^ab.", "{\"text\":\"ab\"}", b -> b);
    assertRow("^ab. ^ab.", "{\"text\":\"ab.\"}", b -> b);
    String pair = "{\"prompt\":\"ab\",\"completion\":\"cd\",\"more\":1}";
    assertRow("^abcd. ___cd.", pair, b -> b);
    assertRow("^abcd. ^abcd.", pair, b -> b.trained(TrainedTokens.ALL));
    assertRow("^abcd! ___cd!", pair, b -> b.endToken("!"));
    assertRow("^abcd ___cd", pair, b -> b.endToken(""));
    String talk =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},"
            + "{\"role\":\"assistant\",\"content\":\"yes\"}]}";
    assertRow("uqayes uqayes", talk, b -> b);
    assertRow("uqayes ___yes", talk, b -> b.trained(TrainedTokens.ASSISTANT));
    String turns =
        "{\"prompt\":[{\"role\":\"user\",\"content\":\"q\"}],"
            + "\"completion\":[{\"role\":\"assistant\",\"content\":\"y\"},"
            + "{\"role\":\"user\",\"content\":\"z\"}]}";
    assertRow("uqayuz ___yuz", turns, b -> b);
    assertRow("uqayuz ___y__", turns, b -> b.trained(TrainedTokens.ASSISTANT));
    String tokens = "{\"input_ids\":[97,98,99]";
    assertRow("abc abc", tokens + "}", b -> b);
    assertRow("abc __c", tokens + ",\"labels\":[-100,-100,99]}", b -> b);
    assertRow("abc _bc", tokens + ",\"completion_mask\":[0,1,1],\"text\":\"x\"}", b -> b);
  }

  @Test
  void alpacaHasItsTwoPrompts() throws IOException {
    InstructionData data =
        builder(
                file(
                    "{\"instruction\":\"do\",\"input\":\"\",\"output\":\"ok\"}",
                    "{\"instruction\":\"do\",\"input\":\"it\",\"output\":\"ok\"}"))
            .build();
    String plain = shown(data, 0);
    assertTrue(plain.contains("task. Write"), plain);
    assertTrue(plain.contains("### Instruction:\ndo\n\n### Response:ok. "), plain);
    assertTrue(plain.endsWith("__ok."), plain);
    String given = shown(data, 1);
    assertTrue(given.contains("paired with an input"), given);
    assertTrue(given.contains("### Instruction:\ndo\n\n### Input:\nit\n\n### Response:ok."), given);
  }

  @Test
  void rowsThatAreTooLongAreCutLeftOutOrRefused() throws IOException {
    String row = "{\"prompt\":\"abcd\",\"completion\":\"efgh\"}";
    assertRow("^abcdef _____ef", row, b -> b.maxLength(7));
    assertRow("defgh. _efgh.", row, b -> b.maxLength(6).tooLong(TooLong.KEEP_END));
    String small = "{\"prompt\":\"a\",\"completion\":\"b\"}";
    InstructionData data = builder(file(row, small)).maxLength(6).tooLong(TooLong.SKIP).build();
    assertEquals(1, data.size());
    assertEquals(1, data.skipped());
    assertEquals("^ab. __b.", shown(data, 0));
    // Nothing of the first row's completion is left.
    assertEquals(1, builder(file(row, small)).maxLength(5).build().size());
    assertRefused(builder(file(small, row)).maxLength(6).tooLong(TooLong.REFUSE), "line 2", "10");
  }

  @Test
  void severalFilesAndTheFirstRowsOfThem() throws IOException {
    Path one = file("{\"text\":\"a\"}", "", "  \r", "{\"text\":\"bb\"}");
    Path two = file("{\"text\":\"ccc\"}", "{\"text\":\"dddd\"}");
    InstructionData data = builder(one, two).maxSamples(3).build();
    assertEquals(3, data.size());
    assertEquals(3 + 4 + 5, data.tokens());
    assertEquals(4, data.line(1));
    assertEquals("^ccc. ^ccc.", shown(data, 2));
    assertEquals(RowForm.TEXT, data.form());
  }

  @Test
  void lineEndsAndByteOrderMarksAreNoPartOfRows() throws IOException {
    Path file = directory.resolve("windows.jsonl");
    Files.writeString(
        file,
        "\uFEFF{\"text\":\"\u00e9\"}\r\n{\"text\":\"b\u0000\"}\r\n".replace("\u0000", "\\u0000"));
    InstructionData data = builder(file).build();
    assertEquals("^\u00e9. ^\u00e9.", shown(data, 0));
    assertEquals("^b\u0000. ^b\u0000.", shown(data, 1));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{}|a row must have input_ids, or messages, or prompt and completion",
        "{\"prompt\":\"a\"}|given were [prompt]",
        "{\"text\":\"a\",\"instruction\":\"a\",\"output\":\"b\"}|several forms",
        "{\"text\":5}|text must be a string, was 5",
        "{\"text\":\"\\ud800\"}|half a surrogate pair",
        "{\"text\":\"a\",\"text\":\"b\"}|is not valid JSON",
        "{\"prompt\":\"a\",\"completion\":[]}|prompt must be a list of objects",
        "{\"messages\":[]}|no messages",
        "{\"messages\":[1]}|there is 1",
        "{\"messages\":\"a\"}|must be a list of objects",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"tools\":\"[\"}|tools: is not valid JSON",
        "{\"input_ids\":[1,2.5]}|there is 2.5",
        "{\"input_ids\":[1,-2]}|negative",
        "{\"input_ids\":[1,99999999999]}|there is 99999999999",
        "{\"input_ids\":\"a\"}|list of integers",
        "{\"input_ids\":[1,2],\"labels\":[1]}|as many as input_ids has, 2",
        "{\"input_ids\":[1,2],\"labels\":[1,-1]}|labels must be tokens or -100",
        "{\"input_ids\":[1,2],\"completion_mask\":[1,2]}|must be 0 or 1",
        "[]|one JSON object",
        "null|one JSON object",
        "{\"text\":\"a\"} x|is not valid JSON",
        "{\"text\":\"a|is not valid JSON",
      })
  void rowsThatDoNotFitAreNamed(String row, String expected) throws IOException {
    assertRefused(builder(file("", row)), "line 2", expected);
  }

  @Test
  void formsDoNotMix() throws IOException {
    Path file = file("{\"text\":\"a\"}", "{\"prompt\":\"a\",\"completion\":\"b\"}");
    assertRefused(builder(file), "line 2", "rows have the form text");
    Path both = file("{\"text\":\"a\",\"prompt\":\"c\",\"completion\":\"b\"}");
    assertEquals(2 + 1, builder(both).form(RowForm.TEXT).build().length(0));
    assertRefused(builder(both).form(RowForm.MESSAGES), "line 1", "rows have the form messages");
    assertRefused(builder(file).trained(TrainedTokens.COMPLETION), "line 1", "COMPLETION");
    assertRefused(builder(file).trained(TrainedTokens.ASSISTANT), "line 1", "ASSISTANT");
  }

  @Test
  void hostileFilesAreRefused() throws IOException {
    assertRefused(builder(directory.resolve("none")), "there is no such file");
    assertRefused(builder(file("[".repeat(1 << 20))), "line 1", "nesting depth");
    Path nul = Files.write(directory.resolve("nul"), new byte[100]);
    assertRefused(builder(nul), "line 1", "is not valid JSON");
    byte[] latin = "{\"text\":\"\u00e9\"}".getBytes(StandardCharsets.ISO_8859_1);
    assertRefused(builder(Files.write(directory.resolve("latin"), latin)), "line 1", "UTF-8");
    byte[] huge = new byte[JsonLines.LONGEST + 2];
    Arrays.fill(huge, (byte) ' ');
    assertRefused(builder(Files.write(directory.resolve("huge"), huge)), "line 1", "has more than");
  }

  @Test
  void nothingToTrainOnIsAnError() throws IOException {
    assertThrows(InvalidConfigException.class, () -> builder(file("", "")).build());
    assertThrows(
        InvalidConfigException.class, () -> builder(file("{\"text\":\"\"}")).endToken("").build());
    assertThrows(InvalidConfigException.class, () -> builder().build());
    Path file = file("{\"text\":\"a\"}");
    assertThrows(InvalidConfigException.class, () -> builder(file).maxLength(0).build());
    assertThrows(InvalidConfigException.class, () -> builder(file).maxSamples(0).build());
    TextEncoder endless = new Endless(new Letters());
    assertThrows(
        InvalidConfigException.class, () -> InstructionData.builder(endless).files(file).build());
  }

  private record Endless(Letters letters) implements TextEncoder {
    @Override
    public long[] encode(String text) {
      return letters.encode(text);
    }

    @Override
    public long[] encode(Conversation conversation, boolean generationPrompt) {
      return letters.encode(conversation, generationPrompt);
    }

    @Override
    public Marked encodeMarked(Conversation conversation) {
      return letters.encodeMarked(conversation);
    }

    @Override
    public Optional<String> endToken() {
      return Optional.empty();
    }

    @Override
    public long paddingId() {
      return 0;
    }
  }

  @Test
  void aFileThatChangesIsNoticed() throws IOException {
    Path file = file("{\"text\":\"abc\"}");
    InstructionData data = builder(file).build();
    Files.writeString(file, "{\"text\":\"ab\"} ");
    MalformedFileException error = assertThrows(MalformedFileException.class, () -> data.read(0));
    assertTrue(error.getMessage().contains("has changed"), error.getMessage());
    Files.writeString(file, "{");
    assertThrows(MalformedFileException.class, () -> data.read(0));
    assertArrayEquals(new Example[0], data.read());
  }

  private static void assertRefused(InstructionData.Builder builder, String... expected) {
    PeftException error = assertThrows(MalformedFileException.class, builder::build);
    for (String part : expected) {
      assertTrue(error.getMessage().contains(part), error.getMessage());
    }
    assertTrue(error.getMessage().length() < 1000);
  }
}
