package io.peft4j.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;

final class BatchOrderProperties {
  /** A text's first token is its number, so that it is known again. */
  private static ClassificationBatches texts(int rows, int batchSize, long seed) {
    ClassificationBatches.Builder builder =
        ClassificationBatches.builder().batchSize(batchSize).seed(seed);
    Random random = new Random(seed);
    for (int row = 0; row < rows; row++) {
      long[] ids = new long[1 + random.nextInt(20)];
      ids[0] = row;
      builder.add(ids, 0);
    }
    return builder.build();
  }

  private record Order(List<Integer> rows, int batches, long positions) {}

  private static Order order(BatchSource source, int epoch) {
    List<Integer> rows = new ArrayList<>();
    int batches = 0;
    long positions = 0;
    for (Iterator<Batch> all = source.epoch(epoch); all.hasNext(); batches++) {
      try (Batch batch = all.next()) {
        for (long id : batch.inputs().head().get(":,0").toLongArray()) {
          rows.add((int) id);
        }
        positions += batch.inputs().head().size();
      }
    }
    return new Order(rows, batches, positions);
  }

  @Property(tries = 30)
  void anEpochHasEachTextOnceAndRepeats(
      @ForAll @IntRange(min = 1, max = 300) int rows,
      @ForAll @IntRange(min = 1, max = 7) int batchSize,
      @ForAll long seed,
      @ForAll @IntRange(max = 5) int epoch) {
    ClassificationBatches source = texts(rows, batchSize, seed);
    Order order = order(source, epoch);
    assertEquals(
        IntStream.range(0, rows).boxed().toList(), order.rows().stream().sorted().toList());
    assertEquals(source.batchesPerEpoch().getAsInt(), order.batches());
    assertEquals(order, order(texts(rows, batchSize, seed), epoch));
  }

  @Property(tries = 10)
  void epochsDifferAndBatchesAreOfLikeLength(@ForAll long seed) {
    ClassificationBatches source = texts(200, 4, seed);
    assertTrue(!order(source, 0).rows().equals(order(source, 1).rows()));
    long tokens =
        IntStream.range(0, 200)
            .mapToLong(
                row -> {
                  try (Batch batch = source.batch(row)) {
                    return batch.tokens();
                  }
                })
            .sum();
    // In an order that knows no lengths about a third of the positions would be padding.
    assertTrue(order(source, 0).positions() < 1.1 * tokens);
  }

  @Property(tries = 20)
  void shuffledRowsComeOnceEach(
      @ForAll @IntRange(min = 1, max = 200) int rows,
      @ForAll @IntRange(min = 1, max = 9) int batchSize,
      @ForAll long seed) {
    List<Integer> seen = new ArrayList<>();
    BatchSource source =
        BatchSource.shuffled(
            rows,
            batchSize,
            seed,
            chosen -> {
              IntStream.of(chosen).forEach(seen::add);
              return texts(1, 1, 0).batch(0);
            });
    assertEquals(source.batchesPerEpoch().getAsInt(), order(source, 0).batches());
    assertEquals(IntStream.range(0, rows).boxed().toList(), seen.stream().sorted().toList());
  }
}
