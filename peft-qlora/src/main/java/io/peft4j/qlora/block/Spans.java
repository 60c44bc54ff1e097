package io.peft4j.qlora.block;

import java.util.stream.IntStream;

/** Divides work on many values among the threads of the common pool, and the calling one. */
final class Spans {
  /** Values that one task takes: enough that starting it does not count. */
  private static final int SPAN = 16 * PackedBlocks.CHUNK;

  /** Values of a product that one task takes. */
  private static final int PRODUCT = 1 << 16;

  private Spans() {}

  /** Does something with each chunk of values. A task makes what it needs once. */
  interface Work {
    /**
     * Does it.
     *
     * @param first the first value
     * @param end the value after the last, at most {@value #SPAN} later
     */
    void run(long first, long end);
  }

  static void forEach(long values, Work work) {
    int tasks = Math.toIntExact((values + SPAN - 1) / SPAN);
    if (tasks <= 1) {
      work.run(0, values);
      return;
    }
    IntStream.range(0, tasks)
        .parallel()
        .forEach(
            task -> {
              long first = (long) task * SPAN;
              work.run(first, Math.min(first + SPAN, values));
            });
  }

  /** Does something with each row of a matrix; a task has about {@value #PRODUCT} values. */
  static void forEachRow(int rows, int length, Work work) {
    int span = Math.max(1, PRODUCT / length);
    int tasks = (rows + span - 1) / span;
    if (tasks <= 1) {
      work.run(0, rows);
      return;
    }
    IntStream.range(0, tasks)
        .parallel()
        .forEach(task -> work.run((long) task * span, Math.min((long) (task + 1) * span, rows)));
  }
}
