package io.peft4j.train.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.peft4j.InvalidConfigException;
import io.peft4j.train.Batch;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a batch has. */
class InstructionBatchesTest {
  @TempDir private Path directory;

  private InstructionData data(String... texts) throws IOException {
    List<String> rows = Stream.of(texts).map(text -> "{\"text\":\"" + text + "\"}").toList();
    Path file = Files.write(directory.resolve("rows.jsonl"), rows);
    return InstructionData.builder(new Letters()).files(file).maxLength(8).endToken("").build();
  }

  private static InstructionBatches.Builder inOrder(InstructionData data) {
    return InstructionBatches.builder(data).shuffled(false);
  }

  private static long[] values(Batch batch, String name) {
    for (NDArray array : batch.inputs()) {
      if (array.getName().equals(name)) {
        return array.toLongArray();
      }
    }
    return new long[0];
  }

  @Test
  void rowsArePaddedToTheLongest() throws IOException {
    InstructionBatches batches = inOrder(data("ab", "c", "def")).batchSize(2).build();
    assertEquals(2, batches.batchesPerEpoch().orElseThrow());
    Iterator<Batch> epoch = batches.epoch(0);
    try (Batch batch = epoch.next()) {
      assertArrayEquals(new long[] {1, 'a', 'b', 1, 'c', 0}, values(batch, "input_ids"));
      assertArrayEquals(new long[] {1, 1, 1, 1, 1, 0}, values(batch, "attention_mask"));
      assertEquals(2, batch.inputs().size());
      assertArrayEquals(
          new long[] {1, 'a', 'b', 1, 'c', -100}, batch.labels().head().toLongArray());
      assertEquals(5, batch.tokens());
      assertTrue(batch.origin().endsWith("rows.jsonl, lines 1, 2"), batch.origin());
    }
    try (Batch batch = epoch.next()) {
      assertEquals(1, batch.inputs().size());
      assertTrue(batch.origin().endsWith("rows.jsonl, line 3"), batch.origin());
    }
    assertFalse(epoch.hasNext());
  }

  @Test
  void packedSequencesAreNumberedAndDoNotPredictEachOther() throws IOException {
    InstructionBatches batches =
        inOrder(data("abcde", "f", "gh")).packing(Packing.BEST_FIT).batchSize(2).build();
    try (Batch batch = batches.epoch(0).next()) {
      assertEquals(new Shape(2, 8), batch.inputs().head().getShape());
      assertArrayEquals(
          new long[] {1, 'a', 'b', 'c', 'd', 'e', 1, 'f', 1, 'g', 'h', 0, 0, 0, 0, 0},
          values(batch, "input_ids"));
      assertArrayEquals(
          new long[] {1, 1, 1, 1, 1, 1, 2, 2, 1, 1, 1, 0, 0, 0, 0, 0},
          values(batch, "sequence_ids"));
      assertEquals(0, values(batch, "attention_mask").length);
      assertEquals(-100, batch.labels().head().toLongArray()[6]);
      assertEquals('f', batch.labels().head().toLongArray()[7]);
    }
  }

  @Test
  void paddingFreeBatchesAreOneRow() throws IOException {
    InstructionBatches batches = inOrder(data("ab", "c")).paddingFree(true).build();
    try (Batch batch = batches.epoch(0).next()) {
      assertEquals(new Shape(1, 5), batch.inputs().head().getShape());
      assertArrayEquals(new long[] {1, 1, 1, 2, 2}, values(batch, "sequence_ids"));
      assertArrayEquals(new long[] {1, 'a', 'b', -100, 'c'}, batch.labels().head().toLongArray());
    }
  }

  @Test
  void rowsOfLikeLengthComeTogether() throws IOException {
    List<String> texts = new ArrayList<>();
    for (int i = 0; i < 40; i++) {
      texts.add("x".repeat(1 + i % 4));
    }
    InstructionData data = data(texts.toArray(String[]::new));
    InstructionBatches batches =
        InstructionBatches.builder(data).lengthGrouped(true).batchSize(10).build();
    int count = 0;
    for (Iterator<Batch> epoch = batches.epoch(3); epoch.hasNext(); count++) {
      try (Batch batch = epoch.next()) {
        assertEquals(0, values(batch, "attention_mask").length);
      }
    }
    assertEquals(4, count);
  }

  @Test
  void sizesOutOfRangeAreRefused() throws IOException {
    InstructionData data = data("ab");
    assertThrows(
        InvalidConfigException.class, () -> InstructionBatches.builder(data).batchSize(0).build());
    assertThrows(
        InvalidConfigException.class,
        () -> inOrder(data).packing(Packing.BEST_FIT).packLength(7).build());
    assertThrows(
        InvalidConfigException.class,
        () -> inOrder(data).packing(Packing.WRAPPED).packLength(1).build());
  }
}
