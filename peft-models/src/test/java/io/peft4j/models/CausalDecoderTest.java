package io.peft4j.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterStateException;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Computing token by token against computing a whole text at once. */
final class CausalDecoderTest {
  private static final long[] TEXT = {1, 17, 42, 9, 63, 88, 5, 31, 77, 12, 6};

  /** Logits of every position, row after row. */
  private static float[] whole(PretrainedModel model, long[] tokens) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDArray ids = manager.create(tokens, new Shape(1, tokens.length));
      ids.setName("input_ids");
      return model.forward(new NDList(ids)).head().toFloatArray();
    }
  }

  private static float[] row(float[] logits, int row, int width) {
    return Arrays.copyOfRange(logits, row * width, (row + 1) * width);
  }

  private static float[] logits(CausalDecoder decoder, int sequence) {
    float[] values = new float[decoder.vocabulary()];
    decoder.logits(sequence, values);
    return values;
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama", "llama-tied"})
  void stepsGiveWhatTheWholeTextGives(String name) {
    try (PretrainedModel model = Goldens.load(Goldens.directory(name))) {
      float[] expected = whole(model, TEXT);
      long[] prompt = Arrays.copyOf(TEXT, 4);
      // A short one beside it makes it the other that is padded, then itself.
      for (List<long[]> prompts :
          List.of(List.of(prompt), List.of(prompt, new long[] {3}), List.of(prompt, TEXT))) {
        try (CausalDecoder decoder = CausalDecoder.start(model, prompts, 1, 2)) {
          for (int i = prompt.length; ; i++) {
            float[] logits = logits(decoder, 0);
            Goldens.assertClose(
                row(expected, i - 1, logits.length), logits, 1e-5, "after token " + i);
            if (i == TEXT.length) {
              break;
            }
            long[] next = new long[prompts.size()];
            next[0] = TEXT[i];
            decoder.step(next);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 6, 8})
  void promptsAreReadInPieces(int tokens) {
    List<long[]> prompts = List.of(TEXT, new long[] {1, 30});
    try (PretrainedModel model = Goldens.load(Goldens.directory("llama"));
        CausalDecoder once = CausalDecoder.start(model, prompts, 1, 1);
        CausalDecoder pieces = CausalDecoder.start(model, prompts, 1, 1, tokens)) {
      for (int i = 0; i < prompts.size(); i++) {
        Goldens.assertClose(logits(once, i), logits(pieces, i), 1e-5, "prompt " + i);
      }
    }
  }

  @Test
  void copiesGoTheirOwnWay() {
    try (PretrainedModel model = Goldens.load(Goldens.directory("llama"));
        CausalDecoder decoder =
            CausalDecoder.start(model, List.of(TEXT, new long[] {1, 30}), 2, 4)) {
      assertEquals(4, decoder.sequences());
      assertArrayEquals(logits(decoder, 0), logits(decoder, 1));
      decoder.step(new long[] {7, 8, 9, 10});
      decoder.reorder(new int[] {1, 1, 2, 3});
      decoder.step(new long[] {11, 12, 13, 14});
      long[][] paths = {{1, 30, 9, 13}, {1, 30, 10, 14}};
      for (int i = 0; i < 2; i++) {
        float[] expected = whole(model, paths[i]);
        Goldens.assertClose(
            row(expected, 3, decoder.vocabulary()), logits(decoder, 2 + i), 1e-5, "second prompt");
        long[] first = Arrays.copyOf(TEXT, TEXT.length + 2);
        first[TEXT.length] = 8;
        first[TEXT.length + 1] = 11 + i;
        Goldens.assertClose(
            row(whole(model, first), first.length - 1, decoder.vocabulary()),
            logits(decoder, i),
            1e-5,
            "first prompt");
      }
      assertThrows(InvalidInputException.class, () -> decoder.reorder(new int[] {2, 1, 2, 3}));
      assertThrows(InvalidInputException.class, () -> decoder.step(new long[] {1}));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 4, 100})
  void textsAreScoredInPieces(int piece) {
    try (PretrainedModel model = Goldens.load(Goldens.directory("llama"))) {
      float[] logits = whole(model, TEXT);
      int width = logits.length / TEXT.length;
      float[] expected = new float[TEXT.length - 1];
      for (int i = 0; i < expected.length; i++) {
        double sum = 0;
        for (float value : row(logits, i, width)) {
          sum += Math.exp(value);
        }
        expected[i] = (float) (logits[i * width + (int) TEXT[i + 1]] - Math.log(sum));
      }
      Goldens.assertClose(
          expected, TextScores.logProbabilities(model, TEXT, piece), 1e-5, "pieces of " + piece);
      assertThrows(
          InvalidInputException.class, () -> TextScores.logProbabilities(model, new long[] {1}));
      assertThrows(
          InvalidInputException.class, () -> TextScores.logProbabilities(model, new long[65]));
    }
  }

  @Test
  void closingTwiceEndsOneLease() {
    PretrainedModel model = Goldens.load(Goldens.directory("llama"));
    List<long[]> prompts = List.of(new long[] {5, 6, 7});
    CausalDecoder first = CausalDecoder.start(model, prompts, 1, 2);
    try (CausalDecoder second = CausalDecoder.start(model, prompts, 1, 2)) {
      long[] best = second.best();
      first.close();
      first.close();
      model.close();
      // The second goes on to its end with the weights that it leased.
      second.step(best);
      assertEquals(1, second.best().length);
      assertThrows(AdapterStateException.class, first::best);
    }
  }

  @Test
  void wrongNumbersAreRefused() {
    try (PretrainedModel model = Goldens.load(Goldens.directory("llama"))) {
      List<long[]> prompts = List.of(new long[] {5, 6, 7});
      assertThrows(InvalidInputException.class, () -> CausalDecoder.start(model, prompts, 0, 2));
      try (CausalDecoder decoder = CausalDecoder.start(model, prompts, 2, 2)) {
        assertThrows(InvalidInputException.class, () -> decoder.logits(2, new float[0]));
        assertThrows(InvalidInputException.class, () -> decoder.reorder(new int[] {0}));
        assertThrows(InvalidInputException.class, () -> decoder.reorder(new int[] {0, 7}));
      }
    }
  }
}
