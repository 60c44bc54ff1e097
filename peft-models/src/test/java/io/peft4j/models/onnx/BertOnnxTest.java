package io.peft4j.models.onnx;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftException;
import java.nio.FloatBuffer;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class BertOnnxTest {
  private static final String UP = "encoder.layer.1.intermediate.dense.weight";

  private static String refusal(OnnxWeights weights) {
    return assertThrows(MalformedFileException.class, () -> BertOnnx.of(weights)).getMessage();
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "bert.", "0.auto_model."})
  void namesAreThoseOfHuggingFaceWhateverThePrefix(String prefix) {
    BertOnnx bert = BertOnnx.of(new TinyBert(prefix, false).weights());
    assertEquals(5 + 2 * 16, bert.names().size());
    assertTrue(bert.names().contains("encoder.layer.1.attention.self.value.weight"));
    assertTrue(bert.names().contains("encoder.layer.0.output.LayerNorm.bias"));
    assertFalse(bert.names().contains("embeddings.position_ids"));
    assertEquals("embeddings.word_embeddings.weight", bert.names().iterator().next());
    assertEquals(
        List.copyOf(bert.names()), bert.tensors().stream().map(NamedTensor::name).toList());
  }

  @Test
  void projectionsAreTurnedToOutByIn() {
    NamedTensor up = BertOnnx.of(new TinyBert("", true).weights()).tensor(UP);
    assertArrayEquals(new long[] {TinyBert.INNER, TinyBert.HIDDEN}, up.shape());
    FloatBuffer values = up.floats();
    int number = (int) (values.get(0) / 1000);
    for (int i = 0; i < TinyBert.INNER; i++) {
      for (int j = 0; j < TinyBert.HIDDEN; j++) {
        assertEquals(TinyBert.value(number, i, j), values.get(i * TinyBert.HIDDEN + j));
      }
    }
    assertTrue(number > 20, "another layer's weight");
  }

  @Test
  void namedWeightsStayAsTheyAre() {
    BertOnnx bert = BertOnnx.of(new TinyBert("", true).weights());
    assertTrue(bert.hasPooler());
    FloatBuffer pooler = bert.tensor("pooler.dense.weight").floats();
    assertEquals(10, pooler.get(TinyBert.HIDDEN) - pooler.get(0));
    assertEquals(1, pooler.get(1) - pooler.get(0));
    FloatBuffer words = bert.tensor("embeddings.word_embeddings.weight").floats();
    assertEquals(TinyBert.value(1, 6, 3), words.get(7 * TinyBert.HIDDEN - 1));
  }

  @Test
  void configIsToldByShapesAndNodes() {
    ObjectNode config = BertOnnx.of(new TinyBert("", false).weights()).config();
    assertEquals("bert", config.get("model_type").asText());
    assertEquals("BertModel", config.get("architectures").get(0).asText());
    assertEquals(7, config.get("vocab_size").asInt());
    assertEquals(5, config.get("max_position_embeddings").asInt());
    assertEquals(2, config.get("type_vocab_size").asInt());
    assertEquals(4, config.get("hidden_size").asInt());
    assertEquals(6, config.get("intermediate_size").asInt());
    assertEquals(2, config.get("num_hidden_layers").asInt());
    assertEquals(2, config.get("num_attention_heads").asInt());
    assertEquals(1e-12, config.get("layer_norm_eps").asDouble());
    assertEquals("gelu", config.get("hidden_act").asText());
  }

  @Test
  void configIsACopy() {
    BertOnnx bert = BertOnnx.of(new TinyBert("", false).weights());
    bert.config().put("hidden_size", 99);
    assertEquals(4, bert.config().get("hidden_size").asInt());
  }

  @Test
  void headsFollowFromTheHeadSizeWhenTheGraphLeavesThemOpen() {
    TinyBert bert = new TinyBert("", false).constant("heads", TinyBert.longs(-1));
    assertEquals(2, BertOnnx.of(bert.weights()).config().get("num_attention_heads").asInt());
  }

  @Test
  void headsCanBeGivenWhenTheGraphDoesNotTell() {
    TinyBert bert =
        new TinyBert("", false)
            .constant("heads", TinyBert.longs(-1))
            .constant("size", TinyBert.longs(-1));
    OnnxWeights weights = bert.weights();
    assertTrue(refusal(weights).contains("heads"));
    assertEquals(4, BertOnnx.of(weights, 4).config().get("num_attention_heads").asInt());
    assertThrows(InvalidConfigException.class, () -> BertOnnx.of(weights, 3));
    assertThrows(InvalidConfigException.class, () -> BertOnnx.of(weights, -1));
  }

  @Test
  void headsThatContradictTheHiddenSizeAreNotBelieved() {
    OnnxWeights weights = new TinyBert("", false).constant("heads", TinyBert.longs(4)).weights();
    assertTrue(refusal(weights).contains("heads"));
  }

  @Test
  void anotherActivationIsRefused() {
    String model = new String(new TinyBert("", false).toBytes(), ISO_8859_1);
    byte[] changed = model.replace("Erf", "Cos").getBytes(ISO_8859_1);
    assertTrue(refusal(OnnxFiles.read(changed)).contains("GELU"));
  }

  @Test
  void missingWeightsAreNamed() {
    String message =
        refusal(
            new TinyBert("", false)
                .change("encoder.layer.1.attention.self.key.bias", (name, old) -> null)
                .weights());
    assertTrue(message.contains("'encoder.layer.1.attention.self.key.bias' is missing"), message);
    message =
        refusal(new TinyBert("", true).change("pooler.dense.bias", (n, old) -> null).weights());
    assertTrue(message.contains("'pooler.dense.bias' is missing"), message);
    message = refusal(OnnxFiles.read(OnnxFiles.graph()));
    assertTrue(message.contains("word_embeddings"), message);
  }

  @Test
  void aLayerWithoutTheOneBeforeIsRefused() {
    String message =
        refusal(
            new TinyBert("", false)
                .change("encoder.layer.7.output.dense.bias", TinyBertChanges::four)
                .weights());
    assertTrue(message.contains("'encoder.layer.7.output.dense.bias'"), message);
  }

  @Test
  void tensorsABertDoesNotHaveAreRefused() {
    String extra = "encoder.layer.0.attention.self.distance_embedding.weight";
    String message =
        refusal(new TinyBert("", false).change(extra, TinyBertChanges::four).weights());
    assertTrue(message.contains(extra), message);
  }

  @Test
  void otherTypesAndShapesAreRefused() {
    String bias = "encoder.layer.0.output.dense.bias";
    String message =
        refusal(
            new TinyBert("", false)
                .change(
                    bias,
                    (name, old) -> OnnxFiles.tensor(name, OnnxFiles.INT8, 4).bytes(9, new byte[4]))
                .weights());
    assertTrue(message.contains(bias) && message.contains("INT8"), message);
    message =
        refusal(
            new TinyBert("", false)
                .change(bias, (name, old) -> OnnxFiles.floats(name, new float[5], 5))
                .weights());
    assertTrue(message.contains("[4], has [5]"), message);
  }

  @Test
  void unknownNamesAreErrors() {
    BertOnnx bert = BertOnnx.of(new TinyBert("", false).weights());
    assertThrows(PeftException.class, () -> bert.tensor("pooler.dense.weight"));
    assertThrows(PeftException.class, () -> bert.shape("embeddings.position_ids"));
  }

  @Test
  void tensorsOwnTheirMemory() {
    BertOnnx bert = BertOnnx.of(new TinyBert("", false).weights());
    NamedTensor first = bert.tensor(UP);
    float before = first.floats().get(0);
    bert.tensor(UP).floats().put(0, 5);
    assertEquals(before, first.floats().get(0));
    assertTrue(first.bytes().isDirect());
    assertEquals(0, first.bytes().alignmentOffset(0, Float.BYTES));
  }

  /** Replacements that several tests use. */
  private static final class TinyBertChanges {
    static ProtobufWriter four(String name, ProtobufWriter old) {
      return OnnxFiles.floats(name, new float[4], 4);
    }
  }
}
