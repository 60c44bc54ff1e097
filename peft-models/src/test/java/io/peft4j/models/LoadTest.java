package io.peft4j.models;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.state.SafeTensors;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Which checkpoints make which model. */
class LoadTest {
  @TempDir Path directory;
  private NDManager manager;

  @BeforeEach
  void open() {
    manager = NDManager.newBaseManager("PyTorch");
  }

  @AfterEach
  void close() {
    manager.close();
  }

  /** Writes a golden model with other tensors. */
  private Path changed(String model, Consumer<Map<String, NDArray>> change) throws IOException {
    return changed(model, Goldens.config(model), change);
  }

  private Path changed(String model, ObjectNode config, Consumer<Map<String, NDArray>> change)
      throws IOException {
    return Goldens.changed(directory, model, config, change);
  }

  private NDList run(PretrainedModel model) {
    return model.forward(
        Goldens.inputs(manager, Goldens.directory("bert").resolve("io.safetensors")));
  }

  private static void rename(Map<String, NDArray> tensors, String from, String to) {
    for (String name : List.copyOf(tensors.keySet())) {
      if (name.contains(from)) {
        tensors.put(name.replace(from, to), tensors.remove(name));
      }
    }
  }

  private static void prefix(Map<String, NDArray> tensors, String prefix) {
    for (String name : List.copyOf(tensors.keySet())) {
      tensors.put(prefix + name, tensors.remove(name));
    }
  }

  @Test
  void oldNamesAndSavedBuffersChangeNothing() throws IOException {
    Path old =
        changed(
            "bert",
            tensors -> {
              rename(tensors, "LayerNorm.weight", "LayerNorm.gamma");
              rename(tensors, "LayerNorm.bias", "LayerNorm.beta");
              prefix(tensors, "bert.");
              tensors.put("bert.embeddings.position_ids", manager.arange(64).expandDims(0));
            });
    try (PretrainedModel expected = Goldens.load(Goldens.directory("bert"));
        PretrainedModel actual = Goldens.load(old)) {
      Goldens.assertSame(run(expected), run(actual));
    }
  }

  @Test
  void aHeadlessCheckpointMayLackThePooler() throws IOException {
    Path bare =
        changed("bert", tensors -> tensors.keySet().removeIf(name -> name.startsWith("pooler.")));
    try (PretrainedModel expected = Goldens.load(Goldens.directory("bert"));
        PretrainedModel actual = Goldens.load(bare)) {
      Goldens.assertSame(new NDList(run(expected).get(0)), run(actual));
      assertTrue(actual.layout().layer("pooler.dense").isEmpty());
    }
  }

  @Test
  void aPoolerThatTheClassDoesNotUseIsSkipped() throws IOException {
    Path old =
        changed(
            "roberta-classifier",
            tensors -> {
              tensors.put("roberta.pooler.dense.weight", manager.zeros(new Shape(32, 32)));
              tensors.put("roberta.pooler.dense.bias", manager.zeros(new Shape(32)));
            });
    try (PretrainedModel model = Goldens.load(old)) {
      assertTrue(model.layout().layer("roberta.pooler.dense").isEmpty());
    }
  }

  @Test
  void oneErrorNamesAllThatDoesNotFit() throws IOException {
    Path wrong =
        changed(
            "bert",
            tensors -> {
              tensors.remove("encoder.layer.1.output.dense.bias");
              tensors.put("encoder.layer.2.output.dense.bias", manager.zeros(new Shape(32)));
              tensors.put("pooler.dense.bias", manager.zeros(new Shape(31)));
            });

    MalformedFileException error =
        assertThrows(MalformedFileException.class, () -> PretrainedModel.load(wrong));

    for (String part :
        List.of(
            "missing encoder.layer.1.output.dense.bias",
            "surplus encoder.layer.2.output.dense.bias",
            "pooler.dense.bias has shape (31)")) {
      assertTrue(error.getMessage().contains(part), error.getMessage());
    }
  }

  @Test
  void weightsOfWholeNumbersAreRefused() throws IOException {
    Path wrong =
        changed(
            "bert",
            tensors ->
                tensors.put("pooler.dense.bias", manager.zeros(new Shape(32), DataType.INT8)));

    MalformedFileException error =
        assertThrows(MalformedFileException.class, () -> PretrainedModel.load(wrong));

    assertTrue(error.getMessage().contains("pooler.dense.bias"), error.getMessage());
  }

  @Test
  void aNewClassifierIsDrawnFromItsSeed() {
    try (PretrainedModel headless = Goldens.load(Goldens.directory("bert"));
        PretrainedModel first = withClassifier("bert", 1);
        PretrainedModel same = withClassifier("bert", 1);
        PretrainedModel other = withClassifier("bert", 2)) {
      assertEquals("BertForSequenceClassification", first.architecture());
      assertEquals("b", first.config().at("/id2label/1").asText());
      assertEquals(4, first.config().get("label2id").size());
      assertEquals(new Shape(3, 4), run(first).get(0).getShape());
      Goldens.assertSame(run(first), run(same));
      assertFalse(
          java.util.Arrays.equals(
              run(first).get(0).toFloatArray(), run(other).get(0).toFloatArray()));

      float[] weight = values(first, "classifier.weight");
      double squares = 0;
      for (float value : weight) {
        squares += value * value;
      }
      assertEquals(0.02, Math.sqrt(squares / weight.length), 0.004);
      for (float value : values(first, "classifier.bias")) {
        assertEquals(0, value);
      }
      org.junit.jupiter.api.Assertions.assertArrayEquals(
          values(headless, "encoder.layer.1.output.dense.weight"),
          values(first, "bert.encoder.layer.1.output.dense.weight"));
    }
  }

  private static PretrainedModel withClassifier(String model, long seed) {
    return PretrainedModel.load(
        Goldens.directory(model),
        LoadOptions.builder().classifier(List.of("a", "b", "c", "d")).seed(seed).build());
  }

  private static float[] values(PretrainedModel model, String name) {
    try (WeightSnapshot weights = model.weights().lease()) {
      return weights.weight(model.layout().parameterIndex(name)).dense().toFloatArray();
    }
  }

  @Test
  void headsAreReplacedAndTakenOff() throws IOException {
    try (PretrainedModel robertaClassifier = withClassifier("roberta-classifier", 0);
        PretrainedModel fromHeadless = withClassifier("roberta", 0)) {
      assertEquals(
          new Shape(4, 32),
          robertaClassifier.layout().parameters().get("classifier.out_proj.weight"));
      assertEquals(robertaClassifier.layout().parameters(), fromHeadless.layout().parameters());
    }
    // What most people have: an encoder with the head it was pretrained with.
    ObjectNode config = Goldens.config("bert");
    config.putArray("architectures").add("BertForMaskedLM");
    Path pretrained =
        changed(
            "bert",
            config,
            tensors -> {
              prefix(tensors, "bert.");
              tensors.put("cls.predictions.bias", manager.zeros(new Shape(100)));
            });
    try (PretrainedModel expected = Goldens.load(Goldens.directory("bert"));
        PretrainedModel actual =
            PretrainedModel.load(pretrained, LoadOptions.builder().headless().build())) {
      assertEquals("BertModel", actual.architecture());
      Goldens.assertSame(run(expected), run(actual));
    }
  }

  @Test
  void headsForTokensAreNewOnes() {
    try (PretrainedModel tokens =
            PretrainedModel.load(
                Goldens.directory("bert-classifier"),
                LoadOptions.builder().tokenClassifier(List.of("O", "B", "I")).seed(3).build());
        PretrainedModel answers =
            PretrainedModel.load(
                Goldens.directory("roberta-tokens"),
                LoadOptions.builder().questionAnswering().seed(3).build());
        PretrainedModel classes =
            PretrainedModel.load(
                Goldens.directory("bert-answers"),
                LoadOptions.builder().tokenClassifier(4).build())) {
      assertEquals("BertForTokenClassification", tokens.architecture());
      assertEquals("B", tokens.config().at("/id2label/1").asText());
      assertTrue(tokens.layout().layer("bert.pooler.dense").isEmpty());
      NDList logits = run(tokens);
      assertEquals(1, logits.size());
      assertEquals(new Shape(3, 11, 3), logits.get(0).getShape());
      for (float value : values(tokens, "classifier.bias")) {
        assertEquals(0, value);
      }

      assertEquals("RobertaForQuestionAnswering", answers.architecture());
      assertFalse(answers.config().has("id2label"));
      assertEquals(new Shape(2, 32), answers.layout().parameters().get("qa_outputs.weight"));
      assertEquals(
          List.of("start_logits", "end_logits"),
          run(answers).stream().map(NDArray::getName).toList());
      assertEquals("LABEL_3", classes.config().at("/id2label/3").asText());
    }
  }

  @Test
  void answersHaveABeginningAndAnEnd() throws IOException {
    ObjectNode config = Goldens.config("bert-answers");
    config.put("num_labels", 3);
    Path wrong = changed("bert-answers", config, tensors -> {});
    InvalidConfigException error =
        assertThrows(InvalidConfigException.class, () -> PretrainedModel.load(wrong));
    assertTrue(
        error.getMessage().contains("num_labels must be of two labels for question answering"),
        error.getMessage());
    LoadOptions options = LoadOptions.builder().questionAnswering().build();
    error =
        assertThrows(
            InvalidConfigException.class,
            () -> PretrainedModel.load(Goldens.directory("llama"), options));
    assertTrue(
        error.getMessage().contains("no question answering head for llama models"),
        error.getMessage());
  }

  @Test
  void tiedNamesShareOneWeightUnlessTheFileHasTwo() throws IOException {
    try (PretrainedModel tied = Goldens.load(Goldens.directory("llama-tied"));
        WeightSnapshot weights = tied.weights().lease()) {
      assertSame(
          weights.weight(tied.layout().parameterIndex("lm_head.weight")),
          weights.weight(tied.layout().parameterIndex("model.embed_tokens.weight")));
    }
    ObjectNode config = Goldens.config("llama");
    config.put("tie_word_embeddings", true);
    Path two = changed("llama", config, tensors -> {});
    try (PretrainedModel untied = Goldens.load(two)) {
      assertFalse(untied.config().get("tie_word_embeddings").asBoolean());
      assertTrue(untied.layout().tied().isEmpty());
    }
    Path equal =
        changed(
            "llama",
            config,
            tensors -> tensors.put("lm_head.weight", tensors.get("model.embed_tokens.weight")));
    try (PretrainedModel tied = Goldens.load(equal)) {
      assertEquals(1, tied.layout().tied().size());
    }
  }

  @Test
  void aModelIsMadeOfWeightsInMemory() {
    Map<String, Weight> weights = new LinkedHashMap<>();
    try (SafeTensors file =
        SafeTensors.open(Goldens.directory("bert").resolve("model.safetensors"))) {
      file.names()
          .forEach(
              name -> weights.put(name, io.peft4j.nn.DenseWeight.of(file.float32(manager, name))));
    }
    try (PretrainedModel expected = Goldens.load(Goldens.directory("bert"));
        PretrainedModel actual = PretrainedModel.of(Goldens.config("bert"), weights)) {
      Goldens.assertSame(run(expected), run(actual));
    }
  }

  @Test
  void closingFreesTheWeightsWhenTheLastLeaseEnds() {
    PretrainedModel model = Goldens.load(Goldens.directory("bert"));
    WeightSnapshot lease = model.weights().lease();
    NDArray weight = lease.weight(0).dense();

    model.close();
    assertTrue(Float.isFinite(weight.sum().getFloat()));
    lease.close();

    assertThrows(RuntimeException.class, weight::sum);
    assertThrows(AdapterStateException.class, () -> run(model));
    model.close();
  }
}
