package io.peft4j.models;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.nn.PassLease;
import io.peft4j.torch.GradMode;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Which row of a batch is which sequence, and how far it is padded on the left. Rows that share
 * their adapters lie side by side, whatever the order of the sequences, and so do the copies of a
 * prompt: a batch with each prompt once has the same order.
 */
final class DecoderRows {
  private final int prompts;
  private final int copies;

  /** The sequence at each place of the batch. */
  private final int[] sequenceAt;

  private final int[] placeOf;

  /** The padding of each prompt. */
  private final int[] pads;

  DecoderRows(PassLease lease, NDManager manager, int[] pads, int copies) {
    prompts = pads.length;
    this.copies = copies;
    this.pads = pads;
    sequenceAt = order(lease, manager, prompts * copies);
    placeOf = new int[sequenceAt.length];
    for (int place = 0; place < placeOf.length; place++) {
      placeOf[sequenceAt[place]] = place;
    }
  }

  private static int[] order(PassLease lease, NDManager manager, int count) {
    try (GradMode off = GradMode.off()) {
      NDArray numbers = manager.arange(0, count, 1, DataType.INT64);
      long[] sorted = lease.order(new NDList(numbers)).head().toLongArray();
      return Arrays.stream(sorted).mapToInt(Math::toIntExact).toArray();
    }
  }

  int prompts() {
    return prompts;
  }

  int sequences() {
    return sequenceAt.length;
  }

  int sequenceAt(int place) {
    return sequenceAt[place];
  }

  int placeOf(int sequence) {
    return placeOf[sequence];
  }

  int promptOf(int sequence) {
    return sequence / copies;
  }

  /** The prompt at a place of a batch that has each prompt once. */
  int promptAt(int place) {
    return sequenceAt[place * copies] / copies;
  }

  /** The place of a sequence's prompt in a batch that has each prompt once. */
  int placeOfPrompt(int sequence) {
    return placeOf[sequence / copies * copies] / copies;
  }

  int pad(int prompt) {
    return pads[prompt];
  }

  /** The padding of the shortest prompt. */
  int longestPad() {
    return Arrays.stream(pads).max().orElse(0);
  }

  private int padAt(int place, int rows) {
    return pads[rows == prompts ? promptAt(place) : sequenceAt[place] / copies];
  }

  /**
   * Positions that count from each prompt's first token.
   *
   * @param rows prompts or sequences
   * @param past tokens before, padding included
   * @param length new tokens
   * @param last the last position there is
   * @return [rows, length]
   */
  long[] positions(int rows, long past, int length, long last) {
    long[] positions = new long[rows * length];
    for (int place = 0; place < rows; place++) {
      long begin = past - padAt(place, rows);
      for (int i = 0; i < length; i++) {
        // Sequences that have ended are computed on with the others, perhaps past the context.
        positions[place * length + i] = Math.min(Math.max(0, begin + i), last);
      }
    }
    return positions;
  }

  /**
   * What hides the padding.
   *
   * @param rows prompts or sequences
   * @param total all tokens of a row, padding included
   * @return float32 [rows, 1, 1, total]; null if nothing is padded
   */
  @Nullable NDArray padding(NDManager manager, int rows, long total) {
    if (Arrays.stream(pads).allMatch(pad -> pad == 0)) {
      return null;
    }
    int width = Math.toIntExact(total);
    float[] values = new float[Math.multiplyExact(rows, width)];
    for (int place = 0; place < rows; place++) {
      int end = Math.min(padAt(place, rows), width);
      Arrays.fill(values, place * width, place * width + end, Float.NEGATIVE_INFINITY);
    }
    return manager.create(values, new Shape(rows, 1, 1, width));
  }
}
