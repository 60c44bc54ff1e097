package io.peft4j.models.gguf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.Tokenizer;
import io.peft4j.models.chat.ChatMessage;
import io.peft4j.state.Json;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.TreeSet;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** A real model. Runs where {@code -Dpeft4j.smollm2=FILE.gguf} names it. */
final class SmolLm2Test {
  private static final ObjectNode EXPECTED =
      Json.readObject(GgufFileTest.GOLDEN.resolve("smollm2.json"));

  private static Path file = Path.of("");

  @BeforeAll
  static void find() {
    String given = System.getProperty("peft4j.smollm2", "");
    assumeTrue(
        !given.isEmpty(),
        "-Dpeft4j.smollm2 does not name SmolLM2's GGUF file (tools/fetch-smollm2.sh gets it)");
    file = Path.of(given);
  }

  private static long[] ids(JsonNode list) {
    long[] ids = new long[list.size()];
    for (int i = 0; i < ids.length; i++) {
      ids[i] = list.get(i).longValue();
    }
    return ids;
  }

  @Test
  void everyWeightHasTheBitsOfTransformers() throws Exception {
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    try (GgufModel model = GgufModel.open(file)) {
      for (String name : new TreeSet<>(model.names())) {
        digest.update(name.getBytes(StandardCharsets.UTF_8));
        try (NDManager manager = NDManager.newBaseManager()) {
          float[] values = model.float32(manager, name).toFloatArray();
          ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
          bytes.asFloatBuffer().put(values);
          digest.update(bytes.array());
        }
      }
    }
    assertEquals(EXPECTED.get("weights").textValue(), HexFormat.of().formatHex(digest.digest()));
  }

  @Test
  void textsBecomeTheSameTokens() {
    try (Tokenizer tokenizer = Tokenizer.load(file)) {
      for (JsonNode entry : EXPECTED.get("texts")) {
        String text = entry.get("text").textValue();
        assertArrayEquals(ids(entry.get("ids")), tokenizer.ids(text, true), text);
      }
      String prompt = EXPECTED.get("prompt").textValue();
      assertArrayEquals(ids(EXPECTED.get("prompt_ids")), tokenizer.ids(prompt, true));
      assertEquals(
          prompt,
          tokenizer
              .chatTemplate()
              .orElseThrow()
              .render(List.of(ChatMessage.user("What is the capital of France?")), true));
    }
  }

  @Test
  void theLikeliestNextTokensAreTheSame() {
    long[] prompt = ids(EXPECTED.get("prompt_ids"));
    try (NDManager manager = NDManager.newBaseManager();
        PretrainedModel model = Exact.load(file)) {
      NDArray ids = manager.create(prompt, new Shape(1, prompt.length));
      ids.setName("input_ids");
      NDArray logits = model.forward(new NDList(ids)).head().get(0).get(prompt.length - 1);
      float[] values = logits.toFloatArray();
      JsonNode best = EXPECTED.get("best");
      assertEquals(best.get(0).get("id").longValue(), logits.argMax().getLong());
      for (JsonNode entry : best) {
        double expected = entry.get("logit").doubleValue();
        assertEquals(expected, values[entry.get("id").intValue()], 1e-4 * Math.abs(expected));
      }
    }
  }
}
