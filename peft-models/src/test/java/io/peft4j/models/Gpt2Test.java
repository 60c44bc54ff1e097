package io.peft4j.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.nn.HalfWeight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.state.TensorType;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.torch.Precision;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What GPT-2 has of its own: weights stored as [in, out], and learned positions, which end. */
class Gpt2Test {
  private static final Path DIRECTORY = Goldens.directory("gpt2");
  private static final int POSITIONS = 64;
  private static final long[] TEXT = {7, 40, 9, 33, 12, 45, 3};

  @TempDir Path temporary;

  @ParameterizedTest
  @EnumSource(
      value = TensorType.class,
      names = {"F16", "BF16"})
  void weightsOfSixteenBitsStayAsTheyAreStored(TensorType type) {
    Path half = temporary.resolve("half");
    Path widened = temporary.resolve("widened");
    try (PretrainedModel model = Goldens.load(DIRECTORY)) {
      model.save(half, SaveOptions.builder().type(type).build());
    }
    LoadOptions bfloat16 = LoadOptions.builder().precision(Precision.BFLOAT16).build();
    try (PretrainedModel model = Goldens.load(half);
        PretrainedModel rough = PretrainedModel.load(half, bfloat16);
        WeightSnapshot weights = model.weights().lease()) {
      for (LayerSpec layer : model.layout().layers()) {
        if (layer.kind() == LayerKind.LINEAR_TRANSPOSED) {
          int index = model.layout().parameterIndex(layer.weightName());
          assertInstanceOf(HalfWeight.class, weights.weight(index), layer.path());
        }
      }
      model.save(widened, SaveOptions.builder().type(TensorType.F32).build());
      try (PretrainedModel same = Goldens.load(widened)) {
        float[] expected = logits(same, TEXT);
        float[] actual = logits(model, TEXT);
        // Several passes: a weight may be packed after the first.
        assertArrayEquals(actual, logits(model, TEXT));
        Goldens.assertClose(expected, actual, 1e-5, type.toString());
        Goldens.assertClose(expected, logits(rough, TEXT), 3e-2, type + " in bfloat16");
      }
    }
  }

  @Test
  void promptsOfOtherLengthBesideOneDoNotMoveItsPositions() {
    List<long[]> prompts = List.of(TEXT, new long[] {1, 30});
    try (PretrainedModel model = Goldens.load(DIRECTORY);
        CausalDecoder decoder = CausalDecoder.start(model, prompts, 1, 4)) {
      decoder.step(new long[] {8, 10});
      decoder.step(new long[] {9, 11});
      for (int row = 0; row < 2; row++) {
        long[] prompt = prompts.get(row);
        long[] text = Arrays.copyOf(prompt, prompt.length + 2);
        text[prompt.length] = 8 + 2L * row;
        text[prompt.length + 1] = 9 + 2L * row;
        float[] all = logits(model, text);
        float[] expected = Arrays.copyOfRange(all, all.length - decoder.vocabulary(), all.length);
        float[] actual = logits(decoder, row);
        Goldens.assertClose(expected, actual, 1e-5, "row " + row);
      }
    }
  }

  @Test
  void nothingGoesBeyondTheLastPosition() {
    try (PretrainedModel model = Goldens.load(DIRECTORY);
        NDManager manager = NDManager.newBaseManager("PyTorch")) {
      assertEquals(POSITIONS, logits(model, new long[POSITIONS]).length / 48);
      InvalidInputException error =
          assertThrows(InvalidInputException.class, () -> logits(model, new long[POSITIONS + 1]));
      assertTrue(error.getMessage().contains("64"), error.getMessage());

      NDArray ids = manager.create(TEXT, new Shape(1, TEXT.length));
      ids.setName("input_ids");
      NDArray last = positions(manager, POSITIONS - TEXT.length);
      float[] moved = model.forward(new NDList(ids, last)).head().toFloatArray();
      assertFalse(Arrays.equals(logits(model, TEXT), moved));
      NDArray beyond = positions(manager, POSITIONS - TEXT.length + 1);
      error =
          assertThrows(InvalidInputException.class, () -> model.forward(new NDList(ids, beyond)));
      assertTrue(error.getMessage().contains("position_ids"), error.getMessage());
      assertTrue(error.getMessage().contains("64"), error.getMessage());
    }
  }

  private static NDArray positions(NDManager manager, int first) {
    NDArray positions = manager.arange(first, first + TEXT.length, 1, DataType.INT64).expandDims(0);
    positions.setName("position_ids");
    return positions;
  }

  @Test
  void textIsContinuedUpToTheLastPosition() {
    long[] prompt = new long[POSITIONS - 2];
    Arrays.fill(prompt, 9);
    try (PretrainedModel model = Goldens.load(DIRECTORY);
        CausalDecoder decoder = CausalDecoder.start(model, List.of(prompt), 1, 10)) {
      decoder.step(new long[] {10});
      decoder.step(new long[] {11});
      long[] text = Arrays.copyOf(prompt, POSITIONS);
      text[POSITIONS - 2] = 10;
      text[POSITIONS - 1] = 11;
      float[] all = logits(model, text);
      float[] expected = Arrays.copyOfRange(all, all.length - decoder.vocabulary(), all.length);
      Goldens.assertClose(expected, logits(decoder, 0), 1e-5, "the last position");
      InvalidInputException error =
          assertThrows(InvalidInputException.class, () -> decoder.step(new long[] {12}));
      assertTrue(error.getMessage().contains("64"), error.getMessage());
    }
  }

  @Test
  void tokensAreClassifiedByANewHead() {
    LoadOptions options = LoadOptions.builder().tokenClassifier(List.of("O", "B", "I")).build();
    try (PretrainedModel model = PretrainedModel.load(DIRECTORY, options)) {
      assertEquals("GPT2ForTokenClassification", model.architecture());
      assertEquals(List.of("classifier"), List.copyOf(model.layout().heads()));
      assertEquals(TEXT.length * 3, logits(model, TEXT).length);
      InvalidInputException error =
          assertThrows(
              InvalidInputException.class, () -> CausalDecoder.start(model, List.of(TEXT), 1, 1));
      assertTrue(error.getMessage().contains("GPT2ForTokenClassification"), error.getMessage());
    }
  }

  private static float[] logits(PretrainedModel model, long[] text) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDArray ids = manager.create(text, new Shape(1, text.length));
      return model.forward(new NDList(ids)).head().toFloatArray();
    }
  }

  private static float[] logits(CausalDecoder decoder, int row) {
    float[] values = new float[decoder.vocabulary()];
    decoder.logits(row, values);
    return values;
  }
}
