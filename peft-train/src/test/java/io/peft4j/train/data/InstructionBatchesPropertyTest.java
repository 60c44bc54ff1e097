package io.peft4j.train.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import io.peft4j.train.Batch;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.Size;

/** What holds of all orders, packs and sizes. */
class InstructionBatchesPropertyTest {
  private static final int LONGEST = 12;

  /** Rows whose tokens all are the row's number from 1. */
  private static InstructionData data(List<Integer> lengths) {
    try {
      Path file = Files.createTempFile("rows", ".jsonl");
      file.toFile().deleteOnExit();
      List<String> rows = new ArrayList<>();
      for (int i = 0; i < lengths.size(); i++) {
        long[] ids = new long[lengths.get(i)];
        Arrays.fill(ids, i + 1L);
        rows.add("{\"input_ids\":" + Arrays.toString(ids) + "}");
      }
      Files.write(file, rows);
      return InstructionData.builder(new Letters()).files(file).maxLength(LONGEST).build();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The arrays of a batch as text. */
  private static List<String> shown(Iterator<Batch> epoch) {
    List<String> batches = new ArrayList<>();
    while (epoch.hasNext()) {
      try (Batch batch = epoch.next()) {
        batches.add(
            batch.inputs().stream()
                    .map(a -> a.getName() + a.getShape() + Arrays.toString(a.toLongArray()))
                    .collect(Collectors.joining())
                + Arrays.toString(batch.labels().head().toLongArray())
                + batch.origin());
      }
    }
    return batches;
  }

  @Property(tries = 150)
  void anEpochHasEachTokenOnceAndSequencesKeepApart(
      @ForAll @Size(min = 1, max = 40) List<@IntRange(min = 2, max = LONGEST) Integer> lengths,
      @ForAll Packing packing,
      @ForAll @IntRange(min = 1, max = 5) int batchSize,
      @ForAll boolean paddingFree,
      @ForAll boolean grouped,
      @ForAll boolean shuffled,
      @ForAll @IntRange(min = 0, max = 3) int epoch) {
    InstructionData data = data(lengths);
    InstructionBatches batches =
        InstructionBatches.builder(data)
            .packing(packing)
            .batchSize(batchSize)
            .paddingFree(paddingFree)
            .lengthGrouped(grouped)
            .shuffled(shuffled)
            .seed(7)
            .build();
    Map<Long, Long> counts = new HashMap<>();
    int made = 0;
    for (Iterator<Batch> all = batches.epoch(epoch); all.hasNext(); made++) {
      try (Batch batch = all.next()) {
        check(batch, packing, paddingFree, counts);
      }
    }
    assertEquals(batches.batchesPerEpoch().orElseThrow(), made);
    Map<Long, Long> expected =
        IntStream.range(0, lengths.size())
            .boxed()
            .collect(Collectors.toMap(i -> i + 1L, i -> (long) lengths.get(i)));
    assertEquals(expected, counts);
  }

  private static void check(
      Batch batch, Packing packing, boolean paddingFree, Map<Long, Long> counts) {
    NDArray inputs = batch.inputs().head();
    int rows = (int) inputs.getShape().get(0);
    int length = (int) inputs.getShape().get(1);
    long[] ids = inputs.toLongArray();
    long[] labels = batch.labels().head().toLongArray();
    long[] seen = sequences(batch, ids.length);
    assertEquals(LongStream.of(ids).filter(id -> id != 0).count(), batch.tokens());
    int longest = 0;
    for (int row = 0; row < rows; row++) {
      int used = 0;
      for (int i = row * length; i < (row + 1) * length; i++) {
        boolean first = i == row * length;
        if (ids[i] == 0) {
          assertEquals(-100, labels[i]);
          continue;
        }
        used++;
        counts.merge(ids[i], 1L, Long::sum);
        boolean begins = !first && ids[i] != ids[i - 1];
        if (begins) {
          assertTrue(seen[i] != seen[i - 1], "sequences run together");
          assertEquals(-100, labels[i], "a label crosses sequences");
        } else if (first || seen[i] == seen[i - 1]) {
          assertEquals(ids[i], labels[i]);
        }
      }
      longest = Math.max(longest, used);
    }
    assertEquals(longest, length, "needless padding");
    if (paddingFree) {
      assertEquals(1, rows);
      assertEquals(batch.tokens(), length);
    } else if (packing != Packing.NONE) {
      assertTrue(length <= LONGEST);
    }
  }

  private static long[] sequences(Batch batch, int size) {
    return batch.inputs().stream()
        .filter(array -> array.getName().equals("sequence_ids"))
        .findFirst()
        .map(NDArray::toLongArray)
        .orElse(new long[size]);
  }

  @Property(tries = 50)
  void orderRepeatsAndIsTakenUpAnywhere(
      @ForAll @Size(min = 1, max = 40) List<@IntRange(min = 2, max = LONGEST) Integer> lengths,
      @ForAll Packing packing,
      @ForAll boolean grouped,
      @ForAll long seed,
      @ForAll @IntRange(min = 0, max = 3) int epoch,
      @ForAll @IntRange(min = 0, max = 6) int skip) {
    InstructionData data = data(lengths);
    InstructionBatches.Builder builder =
        InstructionBatches.builder(data)
            .packing(packing)
            .batchSize(3)
            .lengthGrouped(grouped)
            .seed(seed);
    List<String> whole = shown(builder.build().epoch(epoch));
    assertEquals(whole, shown(builder.build().epoch(epoch)));
    List<String> rest = whole.subList(Math.min(skip, whole.size()), whole.size());
    assertEquals(rest, shown(builder.build().epoch(epoch, skip)));
  }

  @Property(tries = 100)
  void bestFitOpensNoPackWithoutNeed(
      @ForAll @Size(min = 1, max = 60) List<@IntRange(min = 1, max = LONGEST) Integer> lengths) {
    int[] order = IntStream.range(0, lengths.size()).toArray();
    List<List<Packs.Part>> packs = Packs.bestFit(order, lengths::get, LONGEST);
    int[] used = packs.stream().mapToInt(p -> p.stream().mapToInt(Packs.Part::to).sum()).toArray();
    assertTrue(Arrays.stream(used).allMatch(tokens -> tokens <= LONGEST));
    // No two half-empty packs: the first row of the later one would have gone into the earlier.
    assertTrue(Arrays.stream(used).filter(tokens -> 2 * tokens <= LONGEST).count() <= 1);
  }
}
