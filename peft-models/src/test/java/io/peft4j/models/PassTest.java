package io.peft4j.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.nn.Acting;
import io.peft4j.nn.LayerAdapter;
import io.peft4j.nn.Pass;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.torch.GradMode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Gradients, dropout, threads and memory of a pass. */
class PassTest {

  /** Copies of parameters that record gradients, in the place of the base's. */
  record Copies(Map<Integer, NDArray> copies) implements Acting {
    static Copies of(PretrainedModel model, NDManager manager, String... names) {
      Map<Integer, NDArray> copies = new HashMap<>();
      try (WeightSnapshot weights = model.weights().lease()) {
        for (String name : names) {
          int index = model.layout().parameterIndex(name);
          NDArray copy = weights.weight(index).dense().duplicate();
          copy.attach(manager);
          copy.setRequiresGradient(true);
          copies.put(index, copy);
        }
      }
      return new Copies(copies);
    }

    @Override
    public LayerAdapter layer(int slot) {
      return null;
    }

    @Override
    public NDArray override(int index) {
      return copies.get(index);
    }
  }

  private static NDList inputs(NDManager manager, String model) {
    return Goldens.inputs(manager, Goldens.directory(model).resolve("io.safetensors"));
  }

  private static double loss(
      PretrainedModel model, NDManager manager, NDList inputs, Acting acting, boolean backward) {
    try (GradMode mode = GradMode.set(backward);
        NDScope scope = new NDScope();
        WeightSnapshot weights = model.weights().lease()) {
      scope.suppressNotUsedWarning();
      Segment segment = new Segment(0, 3, List.of(acting), new float[] {1});
      NDArray output = model.forward(new Pass(weights, List.of(segment), false), inputs).get(0);
      NDArray loss = output.mul(output).mean();
      if (backward) {
        JniUtils.backward((PtNDArray) loss, (PtNDArray) manager.create(1f), false, false);
      }
      return loss.getFloat();
    }
  }

  @ParameterizedTest
  @CsvSource({
    "bert, embeddings.word_embeddings.weight",
    "bert, encoder.layer.0.attention.self.key.weight",
    "roberta, embeddings.LayerNorm.bias",
    "llama, model.embed_tokens.weight",
    "llama, model.layers.0.self_attn.k_proj.weight",
    "llama, model.layers.0.input_layernorm.weight",
    "llama-tied, model.layers.0.mlp.up_proj.bias"
  })
  void gradientsAreThoseOfFiniteDifferences(String name, String parameter) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel model = Goldens.load(Goldens.directory(name))) {
      NDList inputs = inputs(manager, name);
      Copies copies = Copies.of(model, manager, parameter);
      NDArray copy = copies.copies().values().iterator().next();
      loss(model, manager, inputs, copies, true);
      NDArray gradient = copy.getGradient();
      assertEquals(copy.getShape(), gradient.getShape());

      // Along the gradient itself, where the slope is its norm.
      double norm = gradient.norm().getFloat();
      assertTrue(norm > 1e-4, "no gradient arrives");
      float step = 5e-3f;
      NDArray direction = gradient.div((float) norm).mul(step);
      copy.setRequiresGradient(false);
      NDArray original = copy.duplicate();
      original.add(direction).copyTo(copy);
      double above = loss(model, manager, inputs, copies, false);
      original.sub(direction).copyTo(copy);
      double below = loss(model, manager, inputs, copies, false);

      assertEquals(norm, (above - below) / (2 * step), 0.02 * norm + 1e-3);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"bert-classifier", "roberta-classifier"})
  void dropoutActsOnlyWhenThePassSaysSo(String name) {
    ObjectNode config = Goldens.config(name);
    config.put("hidden_dropout_prob", 0.3);
    config.put("attention_probs_dropout_prob", 0.3);
    config.put("classifier_dropout", 0.3);
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel plain = Goldens.load(Goldens.directory(name));
        WeightSnapshot lease = plain.weights().lease()) {
      Map<String, Weight> weights = new HashMap<>();
      for (String parameter : plain.layout().parameterNames()) {
        weights.put(
            parameter,
            io.peft4j.nn.DenseWeight.of(
                lease.weight(plain.layout().parameterIndex(parameter)).dense()));
      }
      try (PretrainedModel dropping = PretrainedModel.of(config, weights);
          WeightSnapshot own = dropping.weights().lease();
          GradMode off = GradMode.off()) {
        NDList inputs = inputs(manager, name);
        Goldens.assertSame(plain.forward(inputs), dropping.forward(inputs));
        Pass pass = new Pass(own, List.of(Segment.ALL_BASE), true);
        float[] first = dropping.forward(pass, inputs).get(0).toFloatArray();
        float[] second = dropping.forward(pass, inputs).get(0).toFloatArray();
        assertFalse(java.util.Arrays.equals(first, second));
        for (float value : first) {
          assertTrue(Float.isFinite(value));
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"bert", "llama"})
  void rowsWithTheirOwnCopiesAreComputedWithThem(String name) {
    String norm = name.equals("bert") ? "embeddings.LayerNorm.weight" : "model.norm.weight";
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode off = GradMode.off();
        PretrainedModel model = Goldens.load(Goldens.directory(name));
        WeightSnapshot weights = model.weights().lease()) {
      NDList inputs = inputs(manager, name);
      Copies copies = Copies.of(model, manager, norm);
      copies.copies().values().forEach(copy -> copy.muli(1.5f));
      NDArray base = model.forward(Pass.base(weights), inputs).get(0);
      List<Segment> all = List.of(new Segment(0, 3, List.of(copies), new float[] {1}));
      NDArray other = model.forward(new Pass(weights, all, false), inputs).get(0);
      List<Segment> mixed =
          List.of(
              new Segment(0, 1, List.of(), new float[0]),
              new Segment(1, 3, List.of(copies), new float[] {1}));
      NDArray rows = model.forward(new Pass(weights, mixed, false), inputs).get(0);

      Goldens.assertClose(
          base.get("0").toFloatArray(), rows.get("0").toFloatArray(), 1e-6, "base row");
      Goldens.assertClose(
          other.get("1:").toFloatArray(), rows.get("1:").toFloatArray(), 1e-6, "other rows");
      assertNotEquals(base.get("1").getFloat(0, 0), other.get("1").getFloat(0, 0));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"bert-classifier", "llama"})
  void eightThreadsGetTheSameAnswers(String name) throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(8);
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel model = Goldens.load(Goldens.directory(name))) {
      float[] expected = model.forward(inputs(manager, name)).get(0).toFloatArray();
      List<Future<float[][]>> answers = new ArrayList<>();
      for (int i = 0; i < 8; i++) {
        answers.add(
            threads.submit(
                () -> {
                  float[][] mine = new float[10][];
                  try (NDManager own = NDManager.newBaseManager("PyTorch")) {
                    NDList inputs = inputs(own, name);
                    for (int j = 0; j < mine.length; j++) {
                      mine[j] = model.forward(inputs).get(0).toFloatArray();
                    }
                  }
                  return mine;
                }));
      }
      for (Future<float[][]> answer : answers) {
        for (float[] values : answer.get()) {
          assertArrayEquals(expected, values);
        }
      }
    } finally {
      threads.shutdownNow();
    }
  }

  @Test
  void aDjlModelComputesWithIt() throws Exception {
    Path directory = Goldens.directory("bert-classifier");
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel model = Goldens.load(directory);
        ai.djl.Model djl = ai.djl.Model.newInstance("bert", "PyTorch")) {
      djl.setBlock(model);
      NDList inputs = inputs(manager, "bert-classifier");
      Goldens.assertSame(
          model.forward(inputs),
          djl.getBlock()
              .forward(new ai.djl.training.ParameterStore(manager, false), inputs, false));
      assertTrue(djl.getBlock().getParameters().isEmpty());
    }
  }
}
