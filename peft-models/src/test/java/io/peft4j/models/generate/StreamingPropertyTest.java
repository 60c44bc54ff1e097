package io.peft4j.models.generate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.models.PretrainedModel;
import io.peft4j.models.Tokenizer;
import java.util.List;
import java.util.stream.LongStream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;

/** Text that comes piece by piece is the text, whatever the tokens are. */
final class StreamingPropertyTest {
  private static Tokenizer tokenizer;
  private static PretrainedModel model;

  @BeforeContainer
  static void load() {
    tokenizer = Cases.tokenizer();
    model = Cases.model("llama");
  }

  @AfterContainer
  static void close() {
    tokenizer.close();
    model.close();
  }

  /** Any tokens, many of them parts of characters and special ones. */
  @Provide
  Arbitrary<long[]> tokens() {
    return Arbitraries.longs().between(0, 99).array(long[].class).ofMinSize(1).ofMaxSize(40);
  }

  /** The tokens of real text, with characters of up to four bytes. */
  @Provide
  Arbitrary<String> texts() {
    return Arbitraries.of("ü", "€", "😀", "é", "stop", " the", "a", "\n", "!")
        .list()
        .ofMinSize(1)
        .ofMaxSize(15)
        .map(parts -> String.join("", parts));
  }

  @Property(tries = 300)
  void piecesMakeUpTheWhole(@ForAll("tokens") long[] tokens) {
    PartialText partial = new PartialText(tokenizer);
    String before = "";
    for (int i = 1; i <= tokens.length; i++) {
      partial.add(tokens, 0, i);
      String now = partial.certain().toString();
      assertTrue(now.startsWith(before), "what was certain has changed");
      before = now;
    }
    assertEquals(tokenizer.decode(tokens, true), partial.all());
  }

  @Property(tries = 200)
  void charactersComeWhole(@ForAll("texts") String text) {
    long[] tokens = tokenizer.ids(text, false);
    PartialText partial = new PartialText(tokenizer);
    for (int i = 1; i <= tokens.length; i++) {
      partial.add(tokens, 0, i);
      String certain = partial.certain().toString();
      assertTrue(text.startsWith(certain), certain);
      assertFalse(
          !certain.isEmpty() && Character.isHighSurrogate(certain.charAt(certain.length() - 1)));
    }
    assertEquals(text, partial.certain().toString());
  }

  /** Pieces that stop strings are made of, each tokens of its own. */
  @Provide
  Arbitrary<List<String>> pieces() {
    return Arbitraries.of("st", "s", "t", "op", "o", "p", "stop", "per", "€", "!", "€!", "ü")
        .list()
        .ofMinSize(1)
        .ofMaxSize(15);
  }

  /** Of a text with a stop string the listener sees all before it and nothing of it. */
  @Property(tries = 500)
  void nothingOfAStopStringIsTold(@ForAll("pieces") List<String> pieces) {
    String text = String.join("", pieces);
    long[] tokens =
        pieces.stream()
            .flatMapToLong(piece -> LongStream.of(tokenizer.ids(piece, false)))
            .toArray();
    StringBuilder told = new StringBuilder();
    GenerationOptions options =
        GenerationOptions.builder()
            .withoutModelDefaults()
            .maxNewTokens(tokens.length)
            .stopStrings(List.of("stop", "€!€"))
            .endTokens()
            .build();
    TextRow row = Rows.row(model, options, tokenizer, told);
    int given = 0;
    while (!row.finished()) {
      row.add(tokens[given++]);
    }
    int at = first(text, "stop", "€!€");
    String expected = at < 0 ? text : text.substring(0, at);
    assertEquals(expected, row.result().text());
    assertEquals(expected, told.toString());
    assertEquals(at < 0 ? FinishReason.LENGTH : FinishReason.STOP_STRING, row.result().reason());
  }

  private static int first(String text, String... stops) {
    return List.of(stops).stream().mapToInt(text::indexOf).filter(at -> at >= 0).min().orElse(-1);
  }
}
