package io.peft4j.models.gguf;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftException;
import io.peft4j.models.PretrainedModel;
import io.peft4j.state.Json;
import io.peft4j.state.SafeTensors;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Files as Hugging Face would have them. */
final class GgufModelTest {
  private static final Path GOLDEN = GgufFileTest.GOLDEN;

  @TempDir private Path temporary;

  @ParameterizedTest
  @ValueSource(
      strings = {"llama", "llama-untied", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "gpt2"})
  void hasTheNamesAndBitsOfTransformers(String name) {
    ObjectNode expected = Json.readObject(GOLDEN.resolve(name + ".json"));
    try (NDManager manager = NDManager.newBaseManager();
        GgufModel model = GgufModel.open(GOLDEN.resolve(name + ".gguf"))) {
      JsonNode tensors = expected.get("tensors");
      TreeSet<String> names = new TreeSet<>();
      tensors.fieldNames().forEachRemaining(names::add);
      assertEquals(names, new TreeSet<>(model.names()));
      for (String tensor : names) {
        JsonNode shape = tensors.get(tensor).get("shape");
        NDArray values = model.float32(manager, tensor);
        assertEquals(values.getShape(), model.shape(tensor));
        assertEquals(shape.size(), values.getShape().dimension(), tensor);
        for (int i = 0; i < shape.size(); i++) {
          assertEquals(shape.get(i).longValue(), values.getShape().get(i), tensor);
        }
        assertEquals(tensors.get(tensor).get("sha256").textValue(), sha256(values), tensor);
      }
      for (Map.Entry<String, JsonNode> entry : expected.get("config").properties()) {
        JsonNode actual = model.config().path(entry.getKey());
        JsonNode wanted = entry.getValue();
        if (wanted.isNumber()) {
          assertEquals(wanted.doubleValue(), actual.asDouble(-1), entry.getKey());
        } else {
          assertEquals(wanted, actual, entry.getKey());
        }
      }
    }
  }

  private static String sha256(NDArray array) {
    float[] values = array.toFloatArray();
    ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    return HexFormat.of().formatHex(digest().digest(bytes.array()));
  }

  private static MessageDigest digest() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"llama", "llama-untied", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "gpt2"})
  void computesWhatTransformersDoes(String name) {
    Path file = GOLDEN.resolve(name + ".gguf");
    try (GgufModel model = GgufModel.open(file)) {
      assumeTrue(
          name.startsWith("llama") || isImplemented(model.config()),
          () -> "there are no models of the kind " + name + " yet");
    }
    try (NDManager manager = NDManager.newBaseManager();
        PretrainedModel model = Exact.load(file);
        SafeTensors io = SafeTensors.open(GOLDEN.resolve(name + "-io.safetensors"))) {
      NDArray ids = io.array(manager, "input_ids");
      ids.setName("input_ids");
      float[] expected = io.float32(manager, "logits").toFloatArray();
      float[] actual = model.forward(new NDList(ids)).head().toFloatArray();
      assertEquals(expected.length, actual.length);
      for (int i = 0; i < expected.length; i++) {
        assertEquals(expected[i], actual[i], 2e-5 * Math.max(1, Math.abs(expected[i])), "at " + i);
      }
    }
  }

  private static boolean isImplemented(ObjectNode config) {
    try {
      PretrainedModel.layout(config);
      return true;
    } catch (InvalidConfigException e) {
      return !String.valueOf(e.getMessage()).contains("architecture");
    }
  }

  private void refused(Class<? extends PeftException> kind, GgufBuilder builder, String... parts)
      throws IOException {
    Path file = builder.write(temporary.resolve("bad.gguf"));
    PeftException e = assertThrows(kind, () -> GgufModel.open(file).close());
    assertTrue(String.valueOf(e.getMessage()).contains("bad.gguf"), e.getMessage());
    for (String part : parts) {
      assertTrue(e.getMessage().contains(part), part + " is not in: " + e.getMessage());
    }
  }

  @Test
  void whatIsNotTheModelsIsNamed() throws IOException {
    refused(
        InvalidConfigException.class,
        GgufBuilder.of("mamba"),
        "'mamba'",
        "llama, qwen2, qwen3, gemma2, gemma3, phi3, gpt2");
    refused(
        MalformedFileException.class,
        GgufBuilder.llama().without("blk.0.attn_v.weight").without("output_norm.weight"),
        "missing",
        "'output_norm.weight'");
    refused(
        MalformedFileException.class,
        GgufBuilder.llama().without("blk.0.attn_v.weight"),
        "missing",
        "'blk.0.attn_v.weight'");
    refused(
        MalformedFileException.class,
        GgufBuilder.llama().floats("blk.1.attn_v.weight", 8, 4),
        "not the model's",
        "'blk.1.attn_v.weight'");
    refused(
        InvalidConfigException.class,
        GgufBuilder.llama().integer("llama.expert_count", 8),
        "'llama.expert_count'");
    refused(
        InvalidConfigException.class,
        GgufBuilder.llama().number("llama.attention.scale", 0.5f),
        "'llama.attention.scale'");
    refused(MalformedFileException.class, GgufBuilder.llama().integer("split.count", 3), "3 parts");
    refused(
        MalformedFileException.class,
        GgufBuilder.llama().without("blk.0.attn_q.weight").floats("blk.0.attn_q.weight", 8, 6),
        "'blk.0.attn_q.weight'",
        "2 heads");
    refused(
        InvalidConfigException.class,
        GgufBuilder.llama()
            .integer("llama.rope.dimension_count", 2)
            .integer("llama.attention.key_length", 4),
        "rotary embedding of 2");
    refused(
        MalformedFileException.class,
        GgufBuilder.llama()
            .string("tokenizer.ggml.model", "gpt2")
            .strings("tokenizer.ggml.tokens", "a", "b", "c", "d", "e", "f", "g"),
        "7 tokens",
        "6 rows");
    refused(
        MalformedFileException.class,
        GgufBuilder.llama()
            .strings("tokenizer.ggml.tokens", "a", "b")
            .integer("tokenizer.ggml.bos_token_id", 2),
        "bos_token_id",
        "from 0 to 1");
  }

  @Test
  void zeroAndFalseAskForNothing() throws IOException {
    Path file =
        GgufBuilder.llama()
            .integer("llama.expert_count", 0)
            .flag("llama.use_parallel_residual", false)
            .write(temporary.resolve("good.gguf"));
    try (GgufModel model = GgufModel.open(file)) {
      assertEquals("llama", model.config().get("model_type").textValue());
      assertTrue(model.config().get("tie_word_embeddings").booleanValue());
      assertTrue(model.tokenizer().isEmpty());
    }
  }

  @Test
  void aSlidingWindowMakesItMistral() throws IOException {
    Path file =
        GgufBuilder.llama()
            .integer("llama.attention.sliding_window", 16)
            .write(temporary.resolve("mistral.gguf"));
    try (GgufModel model = GgufModel.open(file)) {
      assertEquals("mistral", model.config().get("model_type").textValue());
      assertEquals(16, model.config().get("sliding_window").longValue());
    }
  }

  // --- rope scaling -----------------------------------------------------------------------------

  private JsonNode scaling(GgufBuilder builder) throws IOException {
    try (GgufModel model = GgufModel.open(builder.write(temporary.resolve("rope.gguf")))) {
      return model.config().path("rope_scaling");
    }
  }

  @Test
  void rotaryScalingIsKept() throws IOException {
    assertTrue(scaling(GgufBuilder.llama()).isMissingNode());
    JsonNode linear =
        scaling(
            GgufBuilder.llama()
                .string("llama.rope.scaling.type", "linear")
                .number("llama.rope.scaling.factor", 2.5f));
    assertEquals("linear", linear.get("rope_type").textValue());
    assertEquals(2.5, linear.get("factor").doubleValue());
    JsonNode unnamed = scaling(GgufBuilder.llama().number("llama.rope.scaling.factor", 2.5f));
    assertEquals(linear, unnamed);
    JsonNode yarn =
        scaling(
            GgufBuilder.llama()
                .string("llama.rope.scaling.type", "yarn")
                .number("llama.rope.scaling.factor", 4)
                .integer("llama.rope.scaling.original_context_length", 8));
    assertEquals("yarn", yarn.get("rope_type").textValue());
    assertEquals(8, yarn.get("original_max_position_embeddings").longValue());
    refused(
        InvalidConfigException.class,
        GgufBuilder.llama().string("llama.rope.scaling.type", "longrope"),
        "'longrope'");
  }

  @Test
  void llama3sDivisorsAreRecognised() throws IOException {
    // Heads of 4: frequencies 1 and 500000^-0.5; wavelengths 6.28 (high) and 4443 (between).
    double smooth = (8192 / (2 * Math.PI * Math.sqrt(500000)) - 1) / 3;
    float between = (float) (1 / ((1 - smooth) / 8 + smooth));
    // The factor must show somewhere; no frequency of so small a head is low enough.
    refused(InvalidConfigException.class, withDivisors(1, between), "rope_freqs.weight", "Llama 3");
    JsonNode none = scaling(withDivisors(1, 1));
    assertTrue(none.isMissingNode());
    refused(InvalidConfigException.class, withDivisors(1, 2, 3), "rope_freqs.weight");
    float[] divisors = new float[32];
    for (int i = 0; i < divisors.length; i++) {
      double wavelength = 2 * Math.PI * Math.pow(500000, 2 * i / 64.0);
      double part = Math.min(1, Math.max(0, (8192 / wavelength - 1) / 3));
      divisors[i] = (float) (1 / ((1 - part) / 8 + part));
    }
    JsonNode scaling =
        scaling(
            wide()
                .number("llama.rope.freq_base", 500000)
                .floats("rope_freqs.weight", divisors, divisors.length));
    assertEquals("llama3", scaling.get("rope_type").textValue());
    assertEquals(8, scaling.get("factor").doubleValue());
    assertEquals(8192, scaling.get("original_max_position_embeddings").longValue());
    divisors[20] *= 1.01f;
    refused(
        InvalidConfigException.class,
        wide()
            .number("llama.rope.freq_base", 500000)
            .floats("rope_freqs.weight", divisors, divisors.length),
        "rope_freqs.weight");
  }

  private static GgufBuilder withDivisors(float... divisors) {
    return GgufBuilder.llama()
        .number("llama.rope.freq_base", 500000)
        .floats("rope_freqs.weight", divisors, divisors.length);
  }

  /** Heads of 64. */
  private static GgufBuilder wide() {
    GgufBuilder builder = GgufBuilder.llama().integer("llama.attention.key_length", 64);
    builder.integer("llama.attention.value_length", 64);
    for (String name : List.of("q", "k", "v")) {
      builder.without("blk.0.attn_" + name + ".weight");
      builder.floats("blk.0.attn_" + name + ".weight", 8, name.equals("q") ? 128 : 64);
    }
    return builder.without("blk.0.attn_output.weight").floats("blk.0.attn_output.weight", 128, 8);
  }
}
