package io.peft4j.models.onnx;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.FloatBuffer;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The real all-MiniLM-L6-v2; the expected values are what Python's onnx package reads. */
class MiniLmOnnxTest {
  private static OnnxWeights weights;
  private static BertOnnx bert;

  @BeforeAll
  static void read() {
    weights = OnnxWeights.resource(MiniLmOnnxTest.class.getClassLoader(), "all-minilm-l6-v2.onnx");
    bert = BertOnnx.of(weights);
  }

  private static float at(String name, int row, int column) {
    NamedTensor tensor = bert.tensor(name);
    int columns = tensor.shape().length == 2 ? (int) tensor.shape()[1] : 1;
    return tensor.floats().get(row * columns + column);
  }

  private static double sum(String name) {
    FloatBuffer values = bert.tensor(name).floats();
    double sum = 0;
    while (values.hasRemaining()) {
      sum += values.get();
    }
    return sum;
  }

  @Test
  void hasEveryParameterOfTheModel() {
    assertEquals(104, weights.initializers().size());
    assertEquals(692, weights.nodes().size());
    assertEquals(103, bert.names().size());
    assertTrue(bert.hasPooler());
    long parameters = 0;
    for (String name : bert.names()) {
      long count = 1;
      for (long size : bert.shape(name)) {
        count *= size;
      }
      parameters += count;
    }
    assertEquals(22_713_216, parameters);
    assertArrayEquals(new long[] {30522, 384}, bert.shape("embeddings.word_embeddings.weight"));
    assertArrayEquals(
        new long[] {1536, 384}, bert.shape("encoder.layer.3.intermediate.dense.weight"));
    assertArrayEquals(new long[] {384, 1536}, bert.shape("encoder.layer.5.output.dense.weight"));
  }

  @Test
  void valuesAreThoseOfTheFile() {
    assertEquals(-0.019989014f, at("embeddings.word_embeddings.weight", 0, 0));
    assertEquals(0.040217057f, at("embeddings.word_embeddings.weight", 2003, 17));
    assertEquals(0.0045700637f, at("embeddings.word_embeddings.weight", 30521, 383));
    assertEquals(0.06612399f, at("encoder.layer.5.output.LayerNorm.bias", 383, 0));
    assertEquals(-0.022445679f, at("pooler.dense.weight", 0, 1));
    assertEquals(0.008331299f, at("pooler.dense.weight", 1, 0));
  }

  @Test
  void projectionsAreOutByIn() {
    String query = "encoder.layer.0.attention.self.query.weight";
    assertEquals(0.035969656f, at(query, 1, 0));
    assertEquals(0.043580376f, at(query, 0, 1));
    assertEquals(0.0021289173f, at(query, 383, 5));
    assertEquals(13.52819408863644, sum(query), 1e-6);
    String up = "encoder.layer.3.intermediate.dense.weight";
    assertEquals(-0.031951282f, at(up, 1, 0));
    assertEquals(-0.09964839f, at(up, 1535, 5));
    assertEquals(229.81509488688624, sum(up), 1e-6);
    String down = "encoder.layer.5.output.dense.weight";
    assertEquals(0.026917256f, at(down, 383, 5));
    assertEquals(0.012603814f, at(down, 7, 1535));
    assertEquals(-53.19849107446487, sum(down), 1e-6);
  }

  @Test
  void configIsThatOfTheModel() {
    ObjectNode config = bert.config();
    assertEquals(6, config.get("num_hidden_layers").asInt());
    assertEquals(12, config.get("num_attention_heads").asInt());
    assertEquals(384, config.get("hidden_size").asInt());
    assertEquals(1536, config.get("intermediate_size").asInt());
    assertEquals(30522, config.get("vocab_size").asInt());
    assertEquals(512, config.get("max_position_embeddings").asInt());
    assertEquals(2, config.get("type_vocab_size").asInt());
    assertEquals(1e-12, config.get("layer_norm_eps").asDouble());
  }

  @Test
  void theTokenizerIsInTheSameJar() {
    assertTrue(getClass().getClassLoader().getResource("all-minilm-l6-v2-tokenizer.json") != null);
  }
}
