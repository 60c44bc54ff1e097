package io.peft4j.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.nn.Pass;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.torch.GradMode;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** A packed row gives what its sequences give, each computed alone. */
class PackedSequencesTest {
  // Of lengths at which a model with rotary tables for short and long contexts takes the same ones.
  private static final long[][] SEQUENCES = {{5, 6, 7, 8, 9, 10, 11}, {12}, {6, 5, 13, 7, 14}};
  private static final long[] PACKED = {5, 6, 7, 8, 9, 10, 11, 12, 6, 5, 13, 7, 14, 0, 0};
  private static final long[] NUMBERS = {1, 1, 1, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 0, 0};

  static List<String> decoders() throws IOException {
    return DecoderGoldenTest.decoders().stream().filter(n -> !n.contains("classifier")).toList();
  }

  private static NDArray named(NDArray array, String name) {
    array.setName(name);
    return array;
  }

  private static NDList packed(NDManager manager, long[] ids, long[] numbers, int rows) {
    Shape shape = new Shape(rows, ids.length / rows);
    return new NDList(
        named(manager.create(ids, shape), "input_ids"),
        named(manager.create(numbers, shape), "sequence_ids"));
  }

  @ParameterizedTest
  @MethodSource("decoders")
  void logitsAreThoseOfTheSequencesAlone(String name) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel model = Goldens.load(Goldens.directory(name))) {
      NDArray output = model.forward(packed(manager, PACKED, NUMBERS, 1)).head();
      int from = 0;
      for (long[] sequence : SEQUENCES) {
        NDArray ids = manager.create(sequence, new Shape(1, sequence.length));
        float[] alone = model.forward(new NDList(ids)).head().toFloatArray();
        int to = from + sequence.length;
        float[] part = output.get("0, " + from + ":" + to).toFloatArray();
        Goldens.assertClose(alone, part, 1e-5, name + " at " + from);
        from = to;
      }
      for (float value : output.toFloatArray()) {
        assertTrue(Float.isFinite(value), name);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("decoders")
  void gradientsAreThoseOfTheSequencesAlone(String name) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel model = Goldens.load(Goldens.directory(name))) {
      float[] packed = gradient(manager, model, packed(manager, PACKED, NUMBERS, 1), 13);
      float[] sum = new float[packed.length];
      for (long[] sequence : SEQUENCES) {
        NDList inputs = new NDList(manager.create(sequence, new Shape(1, sequence.length)));
        float[] alone = gradient(manager, model, inputs, sequence.length);
        for (int i = 0; i < sum.length; i++) {
          sum[i] += alone[i];
        }
      }
      double most = 0;
      for (float value : sum) {
        most = Math.max(most, Math.abs(value));
      }
      assertTrue(most > 1e-4, name);
      Goldens.assertClose(sum, packed, 1e-5, name);
    }
  }

  /** Of the first projection's weight, for a loss over the first tokens of the row. */
  private static float[] gradient(
      NDManager manager, PretrainedModel model, NDList inputs, int tokens) {
    String name =
        model.layout().parameterNames().stream()
            .filter(n -> n.matches(".*(q_proj|qkv_proj|c_attn)\\.weight"))
            .findFirst()
            .orElseThrow();
    PassTest.Copies copies = PassTest.Copies.of(model, manager, name);
    try (GradMode on = GradMode.on();
        WeightSnapshot weights = model.weights().lease()) {
      Pass.Segment segment = new Pass.Segment(0, 1, List.of(copies), new float[] {1});
      Pass pass = new Pass(weights, List.of(segment), false);
      NDArray output = model.forward(pass, inputs).head().get(":, :" + tokens);
      NDArray loss = output.mul(output).sum();
      JniUtils.backward((PtNDArray) loss, (PtNDArray) manager.create(1f), false, false);
      NDArray weight = copies.copies().values().iterator().next();
      return JniUtils.getGradient((PtNDArray) weight).toFloatArray();
    }
  }

  @Test
  void rowsDifferAndPaddingMayBeMaskedToo() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel model = Goldens.load(Goldens.directory("mistral"))) {
      long[] ids = {5, 6, 7, 8, 9, 10, 0, 0};
      NDList inputs = packed(manager, ids, new long[] {4, 4, 4, 9, 1, 2, 0, 0}, 2);
      inputs.add(
          named(
              manager.create(new long[] {1, 1, 1, 1, 1, 1, 0, 0}, new Shape(2, 4)),
              "attention_mask"));
      NDArray output = model.forward(inputs).head();
      long[][] alone = {{5, 6, 7}, {8}, {9}, {10}};
      String[] parts = {"0, :3", "0, 3:", "1, :1", "1, 1:2"};
      for (int i = 0; i < parts.length; i++) {
        NDArray one = manager.create(alone[i], new Shape(1, alone[i].length));
        Goldens.assertClose(
            model.forward(new NDList(one)).head().toFloatArray(),
            output.get(parts[i]).toFloatArray(),
            1e-5,
            parts[i]);
      }
    }
  }

  @Test
  void aPackedRowMayBeLongerThanTheContext() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel model = Goldens.load(Goldens.directory("gpt2"))) {
      int context = 64;
      long[] ids = new long[2 * context];
      long[] numbers = new long[2 * context];
      Arrays.fill(ids, 7);
      Arrays.fill(numbers, context, 2 * context, 1);
      NDArray output = model.forward(packed(manager, ids, numbers, 1)).head();
      Goldens.assertClose(
          output.get("0, :" + context).toFloatArray(),
          output.get("0, " + context + ":").toFloatArray(),
          1e-5,
          "halves");
      Arrays.fill(numbers, 0);
      InvalidInputException error =
          assertThrows(
              InvalidInputException.class, () -> model.forward(packed(manager, ids, numbers, 1)));
      assertTrue(error.getMessage().contains("in a sequence; given were 128"), error.getMessage());
    }
  }

  @Test
  void boundsSayWhereSequencesBegin() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDArray numbers = manager.create(new long[] {3, 3, 1, 0, 5, 5, 5, 5}, new Shape(2, 4));
      PackedSequences sequences = new PackedSequences(numbers, 2, 4);
      assertArrayEquals(new int[] {0, 2, 3, 4}, sequences.bounds().get(0));
      assertArrayEquals(new int[] {0, 4}, sequences.bounds().get(1));
      assertEquals(4, sequences.longest());
      assertArrayEquals(new long[] {0, 1, 0, 0, 0, 1, 2, 3}, sequences.positions());
    }
  }

  @Test
  void whatCannotBePackedIsRefused() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel bert = Goldens.load(Goldens.directory("bert"));
        PretrainedModel llama = Goldens.load(Goldens.directory("llama"));
        PretrainedModel classifier = Goldens.load(Goldens.directory("llama-classifier"))) {
      long[] ids = {5, 6, 7};
      assertRefused(bert, packed(manager, ids, new long[3], 1), "only decoders do");
      assertRefused(
          llama, packed(manager, ids, new long[] {1, 2, 1}, 1), "has 1 again at position 2");
      assertRefused(classifier, packed(manager, ids, new long[3], 1), "cannot be classified");
    }
  }

  private static void assertRefused(PretrainedModel model, NDList inputs, String expected) {
    InvalidInputException error =
        assertThrows(InvalidInputException.class, () -> model.forward(inputs));
    assertTrue(error.getMessage().contains(expected), error.getMessage());
  }
}
