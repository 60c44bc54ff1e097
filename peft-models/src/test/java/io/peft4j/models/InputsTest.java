package io.peft4j.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What goes into a model, and what it says to what it does not take. */
class InputsTest {
  private static NDManager manager;
  private static PretrainedModel bert;
  private static PretrainedModel roberta;
  private static PretrainedModel llama;

  @BeforeAll
  static void open() {
    manager = NDManager.newBaseManager("PyTorch");
    bert = PretrainedModel.load(Goldens.directory("bert"));
    roberta = PretrainedModel.load(Goldens.directory("roberta"));
    llama = PretrainedModel.load(Goldens.directory("llama"));
  }

  @AfterAll
  static void close() {
    bert.close();
    roberta.close();
    llama.close();
    manager.close();
  }

  private static NDArray named(NDArray array, String name) {
    array.setName(name);
    return array;
  }

  private static NDArray ids(long... values) {
    return manager.create(values, new Shape(1, values.length));
  }

  private static void assertRefused(PretrainedModel model, String expected, NDArray... inputs) {
    InvalidInputException error =
        assertThrows(InvalidInputException.class, () -> model.forward(new NDList(inputs)));
    assertTrue(error.getMessage().contains(expected), error.getMessage());
  }

  @Test
  void inputsThatAreNoneAreRefused() {
    assertRefused(bert, "input_ids are missing; given were []");
    assertRefused(bert, "input_ids must be [batch, length]", manager.create(5L));
    InvalidInputException error =
        assertThrows(
            InvalidInputException.class, () -> bert.getOutputShapes(new Shape[] {new Shape(3)}));
    assertTrue(error.getMessage().contains("[(3)]"), error.getMessage());
    assertThrows(InvalidInputException.class, () -> bert.getOutputShapes(new Shape[0]));
  }

  @Test
  void namesOrOrderTellInputsApart() {
    NDArray ids = ids(5, 6, 7, 0);
    NDArray mask = ids(1, 1, 1, 0);
    NDArray types = ids(0, 1, 1, 0);
    NDList byOrder = bert.forward(new NDList(ids, mask, types));

    Goldens.assertSame(
        byOrder,
        bert.forward(
            new NDList(
                named(types.duplicate(), "token_type_ids"),
                named(ids.duplicate(), "input_ids"),
                named(mask.duplicate(), "attention_mask"))));
    Goldens.assertSame(
        byOrder,
        bert.forward(
            new NDList(
                ids.toType(DataType.INT32, true),
                mask.toType(DataType.BOOLEAN, true),
                types.toType(DataType.INT32, true))));
    Goldens.assertSame(
        byOrder, bert.forward(new NDList(ids, mask.toType(DataType.FLOAT32, true), types)));
  }

  @Test
  void whatIsLeftOutHasTheUsualMeaning() {
    NDArray ids = ids(5, 6, 7, 8);

    Goldens.assertSame(
        bert.forward(new NDList(ids, ids(1, 1, 1, 1), ids(0, 0, 0, 0))),
        bert.forward(new NDList(ids)));
  }

  @Test
  void paddingChangesNothingForTheTokens() {
    NDArray alone = bert.forward(new NDList(ids(5, 6, 7))).get(0);
    NDArray padded =
        bert.forward(new NDList(ids(5, 6, 7, 0, 0), ids(1, 1, 1, 0, 0))).get(0).get(":, :3");
    Goldens.assertClose(alone.toFloatArray(), padded.toFloatArray(), 1e-6, "padded right");

    NDArray plain = roberta.forward(new NDList(ids(5, 6, 7))).get(0);
    NDArray left =
        roberta.forward(new NDList(ids(1, 1, 5, 6, 7), ids(0, 0, 1, 1, 1))).get(0).get(":, 2:");
    Goldens.assertClose(plain.toFloatArray(), left.toFloatArray(), 1e-6, "padded left");
  }

  @Test
  void aRowOfPaddingAloneGivesNumbers() {
    NDArray ids = manager.create(new long[] {5, 6, 0, 0}, new Shape(2, 2));
    NDArray mask = manager.create(new long[] {1, 1, 0, 0}, new Shape(2, 2));
    for (PretrainedModel model : new PretrainedModel[] {bert, roberta, llama}) {
      for (NDArray output : model.forward(new NDList(ids, mask))) {
        for (float value : output.toFloatArray()) {
          assertTrue(Float.isFinite(value), model.modelType());
        }
      }
    }
  }

  @Test
  void laterTokensDoNotChangeEarlierOnesOfADecoder() {
    float[] all = llama.forward(new NDList(ids(5, 6, 7, 8))).get(0).get(":, :2").toFloatArray();
    float[] first = llama.forward(new NDList(ids(5, 6))).get(0).toFloatArray();

    Goldens.assertClose(first, all, 1e-6, "first tokens");
  }

  @Test
  void theOutputBelongsToTheInputsManagerAndNothingElseIsLeft() {
    try (NDManager own = NDManager.newBaseManager("PyTorch")) {
      NDArray ids = own.create(new long[] {5, 6}, new Shape(1, 2));
      int before = own.getManagedArrays().size();

      NDList output = bert.forward(new NDList(ids));

      assertEquals(before + 2, own.getManagedArrays().size());
      assertArrayEquals(output.getShapes(), bert.getOutputShapes(new Shape[] {ids.getShape()}));
      output.close();
      assertEquals(before, own.getManagedArrays().size());
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {-1, 100, Long.MIN_VALUE, Long.MAX_VALUE})
  void tokensOutsideTheVocabularyAreRefused(long token) {
    for (PretrainedModel model : new PretrainedModel[] {bert, roberta, llama}) {
      assertRefused(model, token + " at position 1", ids(5, token));
    }
  }

  @Test
  void otherWrongInputsAreRefused() {
    NDArray ids = ids(5, 6);
    assertRefused(bert, "attention_mask must have the shape", ids, ids(1, 1, 1));
    assertRefused(bert, "1 for tokens and 0 for padding", ids, ids(1, 2));
    assertRefused(bert, "token_type_ids must be from 0 to 1", ids, ids(1, 1), ids(0, 2));
    assertRefused(llama, "no token_type_ids", ids, ids(1, 1), ids(0, 0));
    assertRefused(bert, "[batch, length]", manager.create(new long[] {5, 6}));
    assertRefused(bert, "[batch, length]", manager.create(new Shape(1, 0), DataType.INT64));
    assertRefused(bert, "int64 or int32", ids.toType(DataType.FLOAT32, true));
    assertRefused(bert, "6 arrays", ids, ids, ids, ids, ids, ids);
    assertRefused(bert, "no position_ids", ids, ids(1, 1), ids(0, 0), ids(0, 1));
    assertRefused(
        llama,
        "position_ids must be",
        named(ids(5, 6), "input_ids"),
        named(ids(0, 1 << 20), "position_ids"));
    assertRefused(bert, "'labels'", named(ids.duplicate(), "labels"));
    assertRefused(bert, "one without a name", named(ids.duplicate(), "input_ids"), ids(1, 1));
    assertRefused(bert, "input_ids are missing", named(ids.duplicate(), "attention_mask"));
    assertRefused(bert, "input_ids are missing");
    assertRefused(
        bert,
        "'input_ids'",
        named(ids.duplicate(), "input_ids"),
        named(ids.duplicate(), "input_ids"));
  }

  @Test
  void rowsThatAreTooLongAreRefused() {
    assertRefused(bert, "at most 64 tokens", ids(new long[65]));
    assertRefused(llama, "at most 64 tokens", ids(new long[65]));
    long[] tokens = new long[63];
    java.util.Arrays.fill(tokens, 5);
    assertRefused(roberta, "at most 62 tokens", ids(tokens));
    tokens[0] = 1;
    assertEquals(1, roberta.forward(new NDList(ids(tokens))).get(0).getShape().get(0));
  }
}
