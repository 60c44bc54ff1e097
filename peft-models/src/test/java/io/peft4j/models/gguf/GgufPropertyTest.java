package io.peft4j.models.gguf;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.PeftException;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;

class GgufPropertyTest {
  private static Path directory;
  private static byte[] whole;

  @BeforeContainer
  static void make() throws IOException {
    directory = Files.createTempDirectory("gguf");
    whole =
        GgufBuilder.llama()
            .string("tokenizer.ggml.model", "llama")
            .strings("tokenizer.ggml.tokens", "<unk>", "a", "b", "ab", "▁", "▁a")
            .integers("tokenizer.ggml.token_type", 2, 1, 1, 1, 1, 1)
            .numbers("tokenizer.ggml.scores", 0, -1, -2, -3, -4, -5)
            .string("tokenizer.chat_template", "{{ messages }}")
            .build();
  }

  @AfterContainer
  static void delete() throws IOException {
    try (var files = Files.list(directory)) {
      for (Path file : files.toList()) {
        Files.delete(file);
      }
    }
    Files.delete(directory);
  }

  /** Everything that reads the file, short of the engine. */
  private static boolean reads(byte[] content) throws IOException {
    Path file = Files.write(directory.resolve("model.gguf"), content);
    try (GgufModel model = GgufModel.open(file)) {
      for (String name : model.names()) {
        GgufTensor tensor = model.parameter(name).tensor();
        float[] values = new float[(int) tensor.elements()];
        new Dequantizer(model.file(), tensor).some(0, values.length, FloatBuffer.wrap(values));
      }
      model.tokenizer().ifPresent(tokenizer -> assertTrue(tokenizer.json().length > 0));
      model.tokenizer().ifPresent(tokenizer -> assertTrue(tokenizer.config().size() > 0));
      return true;
    } catch (PeftException e) {
      assertTrue(String.valueOf(e.getMessage()).contains("model.gguf"), e.getMessage());
      return false;
    }
  }

  @Property(tries = 1500)
  void flippedBitsAreReadOrRefused(@ForAll Random random, @ForAll @IntRange(min = 1, max = 6) int n)
      throws IOException {
    byte[] content = whole.clone();
    // Most of the file is values, where nothing can go wrong.
    int interesting = content.length - 2000;
    for (int i = 0; i < n; i++) {
      int bit = random.nextInt(8 * interesting);
      content[bit / 8] ^= (byte) (1 << (bit % 8));
    }
    reads(content);
  }

  @Property(tries = 500)
  void bytesOfEveryKindAreReadOrRefused(@ForAll Random random) throws IOException {
    byte[] content = whole.clone();
    int at = 4 + random.nextInt(1500);
    byte[] extreme = {0, 1, 9, 0x7f, (byte) 0x80, (byte) 0xff};
    Arrays.fill(content, at, at + 1 + random.nextInt(8), extreme[random.nextInt(extreme.length)]);
    reads(content);
  }

  @Property(tries = 300)
  void shortFilesAreRefused(@ForAll Random random) throws IOException {
    // The padding behind the last tensor is not missed.
    int length = random.nextInt(whole.length - 32);
    assertEquals(false, reads(Arrays.copyOf(whole, length)));
  }

  @Property(tries = 1)
  void theFileItselfIsRead() throws IOException {
    assertTrue(reads(whole));
  }
}
