package io.peft4j.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.peft4j.MalformedFileException;
import io.peft4j.models.chat.ChatMessage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The real tokenizer of MiniLM, whose file asks for rows of 128 tokens. */
class TokenizerTest {
  @TempDir Path directory;

  static InputStream json() {
    return TokenizerTest.class.getResourceAsStream("/all-minilm-l6-v2-tokenizer.json");
  }

  private static Tokenizer miniLm() {
    try (InputStream in = json()) {
      return Tokenizer.load(in);
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  @Test
  void padsToTheLongestAndNoFurther() {
    try (Tokenizer tokenizer = miniLm();
        NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDList batch = tokenizer.encode(manager, List.of("Hello world!", "Hi"), 16);

      assertEquals("input_ids", batch.get(0).getName());
      assertEquals("attention_mask", batch.get(1).getName());
      assertEquals(new Shape(2, 5), batch.get(0).getShape());
      assertArrayEquals(
          new long[] {101, 7592, 2088, 999, 102, 101, 7632, 102, 0, 0}, batch.get(0).toLongArray());
      assertArrayEquals(new long[] {1, 1, 1, 1, 1, 1, 1, 1, 0, 0}, batch.get(1).toLongArray());
    }
  }

  @Test
  void cutsTextAndKeepsSpecialTokens() {
    try (Tokenizer tokenizer = miniLm()) {
      List<String> text = List.of("Hello world!");

      assertArrayEquals(new long[] {101, 7592, 2088, 102}, tokenizer.ids(text, 4).get(0));
      assertArrayEquals(new long[] {101, 102}, tokenizer.ids(text, 2).get(0));
      assertThrows(InvalidInputException.class, () -> tokenizer.ids(text, 1));
      assertThrows(InvalidInputException.class, () -> tokenizer.ids(text, 0));
      assertEquals(512, tokenizer.ids(List.of("word ".repeat(2000)), 512).get(0).length);
      assertEquals(2002, tokenizer.ids("word ".repeat(2000), true).length);
    }
  }

  @Test
  void decodes() {
    try (Tokenizer tokenizer = miniLm()) {
      long[] ids = tokenizer.ids("Hello world!", true);

      assertEquals("hello world!", tokenizer.decode(ids, true));
      assertEquals("[CLS] hello world! [SEP]", tokenizer.decode(ids, false));
      assertThrows(InvalidInputException.class, () -> tokenizer.decode(new long[] {-1}, true));
    }
  }

  @Test
  void aDirectorySaysWhichSideIsPaddedAndCut() throws IOException {
    try (InputStream in = json()) {
      Files.copy(in, directory.resolve("tokenizer.json"));
    }
    Files.writeString(
        directory.resolve("tokenizer_config.json"),
        "{\"padding_side\": \"left\", \"truncation_side\": \"left\","
            + " \"pad_token\": {\"content\": \"[MASK]\"}}");
    try (Tokenizer tokenizer = Tokenizer.load(directory);
        NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDList batch = tokenizer.encode(manager, List.of("Hello world!", "Hi"), 4);

      assertEquals(103, tokenizer.paddingId());
      assertArrayEquals(
          new long[] {101, 2088, 999, 102, 103, 101, 7632, 102}, batch.get(0).toLongArray());
      assertArrayEquals(new long[] {1, 1, 1, 1, 0, 1, 1, 1}, batch.get(1).toLongArray());
    }
  }

  @Test
  void whatIsNoTokenizerIsRefused() throws IOException {
    for (String content :
        new String[] {"", "[]", "{}", "{\"model\": 1}", "{\"version\": \"1.0\""}) {
      byte[] bytes = content.getBytes(StandardCharsets.UTF_8);
      assertThrows(
          MalformedFileException.class,
          () -> Tokenizer.load(new ByteArrayInputStream(bytes)),
          content);
    }
    MalformedFileException error =
        assertThrows(MalformedFileException.class, () -> Tokenizer.load(directory));
    assertTrue(error.getMessage().contains("tokenizer.json"), error.getMessage());
  }

  @Test
  void aBatchNeedsText() {
    try (Tokenizer tokenizer = miniLm();
        NDManager manager = NDManager.newBaseManager("PyTorch")) {
      assertThrows(InvalidInputException.class, () -> tokenizer.encode(manager, List.of(), 8));
      assertEquals(new Shape(1, 2), tokenizer.encode(manager, List.of(""), 8).get(0).getShape());
    }
  }

  @Test
  void chatTemplatesComeWithTheDirectory() throws IOException {
    try (InputStream in = json()) {
      Files.copy(in, directory.resolve("tokenizer.json"));
    }
    try (Tokenizer tokenizer = Tokenizer.load(directory)) {
      assertTrue(tokenizer.chatTemplate().isEmpty());
    }
    Files.writeString(
        directory.resolve("tokenizer_config.json"),
        "{\"chat_template\": \"{{ cls_token }}{{ messages[0].content }}\", \"cls_token\": \"[CLS]\"}");
    try (Tokenizer tokenizer = Tokenizer.load(directory)) {
      List<ChatMessage> messages = List.of(ChatMessage.user("Hello world!"));
      String text = tokenizer.chatTemplate().orElseThrow().render(messages, true);

      assertEquals("[CLS]Hello world!", text);
      assertArrayEquals(new long[] {101, 7592, 2088, 999}, tokenizer.ids(text, false));
    }
    try (Tokenizer tokenizer = Tokenizer.load(directory.resolve("tokenizer.json"))) {
      assertTrue(tokenizer.chatTemplate().isEmpty());
    }
  }
}
