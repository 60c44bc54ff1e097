package io.peft4j.models.gguf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftException;
import io.peft4j.models.Tokenizer;
import io.peft4j.state.Json;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The same tokens as transformers', from nothing but the GGUF file. */
final class GgufTokenizerTest {
  private static final Path GOLDEN = GgufFileTest.GOLDEN.resolve("tokenizers");

  @TempDir private Path temporary;

  @ParameterizedTest
  @ValueSource(
      strings = {
        "gpt-2",
        "smollm",
        "llama-bpe",
        "mistral-nemo",
        "qwen2",
        "gpt-4o",
        "sentencepiece",
        "phi3",
        "gemma"
      })
  void cutsTextsAsTransformersDoes(String name) {
    JsonNode texts = Json.readObject(GOLDEN.resolve(name + ".json")).get("texts");
    assertTrue(texts.size() > 30);
    try (Tokenizer tokenizer = Tokenizer.load(GOLDEN.resolve(name + ".gguf"))) {
      for (JsonNode entry : texts) {
        String text = entry.get("text").textValue();
        long[] ids = new long[entry.get("ids").size()];
        for (int i = 0; i < ids.length; i++) {
          ids[i] = entry.get("ids").get(i).longValue();
        }
        assertArrayEquals(ids, tokenizer.ids(text, true), text);
        assertEquals(entry.get("decoded").textValue(), tokenizer.decode(ids, true), text);
      }
    }
  }

  private static ObjectNode config(Path file) {
    try (GgufFile opened = GgufFile.open(file)) {
      return GgufTokenizer.of(opened).orElseThrow().config();
    }
  }

  @Test
  void specialTokensAndTemplateAreTold() throws IOException {
    ObjectNode llama = config(GgufFileTest.GOLDEN.resolve("llama.gguf"));
    assertEquals("<s>", llama.get("bos_token").textValue());
    assertEquals("<|im_end|>", llama.get("eos_token").textValue());
    assertEquals("<pad>", llama.get("pad_token").textValue());
    assertFalse(llama.has("unk_token"));
    assertFalse(llama.get("add_bos_token").booleanValue());
    assertTrue(llama.get("chat_template").textValue().startsWith("{% for m in messages %}"));
    // SentencePiece models have it unless the file says otherwise.
    assertTrue(config(GOLDEN.resolve("sentencepiece.gguf")).get("add_bos_token").booleanValue());
    Path named =
        tiny()
            .string("tokenizer.chat_template", "main")
            .string("tokenizer.chat_template.tool_use", "tools")
            .write(temporary.resolve("named.gguf"));
    assertEquals(
        "[{\"name\":\"tool_use\",\"template\":\"tools\"},{\"name\":\"default\",\"template\":\"main\"}]",
        config(named).get("chat_template").toString());
  }

  private static GgufBuilder tiny() {
    return GgufBuilder.of("llama")
        .string("tokenizer.ggml.model", "gpt2")
        .strings("tokenizer.ggml.tokens", "a", "b", "ab", "<|｜x|>")
        .integers("tokenizer.ggml.token_type", 1, 1, 1, 3);
  }

  private void refused(Class<? extends PeftException> kind, GgufBuilder builder, String... parts)
      throws IOException {
    Path file = builder.write(temporary.resolve("bad.gguf"));
    PeftException e = assertThrows(kind, () -> Tokenizer.load(file).close());
    for (String part : parts) {
      assertTrue(String.valueOf(e.getMessage()).contains(part), part + ": " + e.getMessage());
    }
  }

  @Test
  void wrongTokenizersAreRefused() throws IOException {
    refused(MalformedFileException.class, GgufBuilder.of("llama"), "no tokenizer");
    refused(MalformedFileException.class, tiny(), "no merges");
    refused(
        InvalidConfigException.class,
        tiny().strings("tokenizer.ggml.merges", "a b").string("tokenizer.ggml.pre", "odd"),
        "'odd'",
        "smollm");
    refused(
        MalformedFileException.class, tiny().strings("tokenizer.ggml.merges", "a b c"), "'a b c'");
    refused(
        MalformedFileException.class, tiny().strings("tokenizer.ggml.merges", "a z"), "bad.gguf");
    refused(
        InvalidConfigException.class,
        GgufBuilder.of("llama")
            .string("tokenizer.ggml.model", "t5")
            .strings("tokenizer.ggml.tokens", "a"),
        "'t5'",
        "gpt2 and llama");
    GgufBuilder pieces =
        GgufBuilder.of("llama")
            .string("tokenizer.ggml.model", "llama")
            .strings("tokenizer.ggml.tokens", "a", "b".repeat(300));
    refused(MalformedFileException.class, pieces, "scores");
    refused(
        MalformedFileException.class,
        pieces.numbers("tokenizer.ggml.scores", 0, 1),
        "300 characters");
  }

  @Test
  void tokensThatAreNotInTheByteAlphabetStayWhole() throws IOException {
    Path file =
        tiny().strings("tokenizer.ggml.merges", "a b").write(temporary.resolve("whole.gguf"));
    try (Tokenizer tokenizer = Tokenizer.load(file)) {
      assertArrayEquals(new long[] {2, 3, 0}, tokenizer.ids("ab<|｜x|>a", true));
    }
  }

  @Test
  void aMarkBeforeTheTextIsLeftOutWhereTheFileSaysSo() throws IOException {
    for (boolean prefix : new boolean[] {true, false}) {
      Path file =
          GgufBuilder.of("llama")
              .string("tokenizer.ggml.model", "llama")
              .flag("tokenizer.ggml.add_space_prefix", prefix)
              .strings("tokenizer.ggml.tokens", "<unk>", "a", "\u2581", "\u2581a")
              .integers("tokenizer.ggml.token_type", 2, 1, 1, 1)
              .numbers("tokenizer.ggml.scores", 0, -2, -3, -1)
              .write(temporary.resolve(prefix + ".gguf"));
      try (Tokenizer tokenizer = Tokenizer.load(file)) {
        assertArrayEquals(new long[] {prefix ? 3 : 1, 3}, tokenizer.ids("a a", true));
        assertEquals("a a", tokenizer.decode(tokenizer.ids("a a", true), true));
      }
    }
  }
}
