package io.peft4j.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.InvalidConfigException;
import org.junit.jupiter.api.Test;

final class ClassificationBatchesTest {
  private static final ClassificationBatches THREE =
      ClassificationBatches.builder()
          .add(new long[] {5, 6}, 1)
          .add(new long[] {7, 8, 9, 4}, 0)
          .add(new long[] {3}, 2)
          .batchSize(2)
          .paddingId(77)
          .build();

  @Test
  void padsToTheLongestOfTheBatch() {
    try (Batch batch = THREE.batch(0, 2)) {
      NDArray ids = batch.inputs().get(0);
      assertEquals(DataType.INT64, ids.getDataType());
      assertEquals(new Shape(2, 2), ids.getShape());
      assertArrayEquals(new long[] {5, 6, 3, 77}, ids.toLongArray());
      assertArrayEquals(new long[] {1, 1, 1, 0}, batch.inputs().get(1).toLongArray());
      assertArrayEquals(new long[] {1, 2}, batch.labels().head().toLongArray());
      assertEquals(2, batch.rows());
      assertEquals(3, batch.tokens());
    }
  }

  @Test
  void predictsInTheOrderOfAdding() {
    // A "model" whose likeliest class is the number of tokens less one.
    int[] predictions =
        THREE.predict(
            inputs -> {
              NDArray lengths = inputs.get(1).sum(new int[] {1}).sub(1);
              return new NDList(lengths.oneHot(4));
            });
    assertArrayEquals(new int[] {1, 3, 0}, predictions);
    assertEquals(1 / 3.0, THREE.accuracy(predictions));
    assertEquals(1, THREE.accuracy(new int[] {1, 0, 2}));
    assertThrows(InvalidConfigException.class, () -> THREE.accuracy(new int[] {1}));
  }

  @Test
  void refusesWhatIsNoText() {
    ClassificationBatches.Builder builder = ClassificationBatches.builder();
    assertThrows(InvalidConfigException.class, builder::build);
    assertThrows(InvalidConfigException.class, () -> builder.add(new long[0], 0));
    assertThrows(InvalidConfigException.class, () -> builder.add(new long[1], -1));
    assertThrows(
        InvalidConfigException.class, () -> builder.add(new long[1], 0).batchSize(0).build());
  }
}
