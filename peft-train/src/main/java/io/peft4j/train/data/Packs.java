package io.peft4j.train.data;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.IntUnaryOperator;

/** Which parts of which rows of data make up the rows of batches. */
final class Packs {
  /**
   * How many rows best fit looks at together. Of so many hardly any room stays empty, and the plan
   * of a large file takes a moment.
   */
  static final int WINDOW = 1 << 14;

  private Packs() {}

  /** Tokens of a row of data, from one place up to another. */
  record Part(int row, int from, int to) {}

  /** Each row by itself. */
  static List<List<Part>> single(int[] order, IntUnaryOperator length) {
    List<List<Part>> packs = new ArrayList<>(order.length);
    for (int row : order) {
      packs.add(List.of(new Part(row, 0, length.applyAsInt(row))));
    }
    return packs;
  }

  /**
   * Best fit decreasing within windows of the order: each row goes where the least room is left.
   *
   * @param room most tokens of a pack; no row has more
   */
  static List<List<Part>> bestFit(int[] order, IntUnaryOperator length, int room) {
    List<List<Part>> packs = new ArrayList<>();
    for (int from = 0; from < order.length; from += WINDOW) {
      List<Part> rows = new ArrayList<>();
      for (int row : Arrays.copyOfRange(order, from, Math.min(order.length, from + WINDOW))) {
        rows.add(new Part(row, 0, length.applyAsInt(row)));
      }
      rows.sort(Comparator.comparingInt(Part::to).reversed());
      TreeMap<Integer, Deque<List<Part>>> byRoom = new TreeMap<>();
      for (Part row : rows) {
        Map.Entry<Integer, Deque<List<Part>>> best = byRoom.ceilingEntry(row.to);
        int left = room;
        List<Part> pack;
        if (best == null) {
          pack = new ArrayList<>(2);
          packs.add(pack);
        } else {
          left = best.getKey();
          pack = best.getValue().removeFirst();
          if (best.getValue().isEmpty()) {
            byRoom.remove(left);
          }
        }
        pack.add(row);
        byRoom.computeIfAbsent(left - row.to, any -> new ArrayDeque<>()).addLast(pack);
      }
    }
    return packs;
  }

  /** One row after the other, cut where a pack is full. */
  static List<List<Part>> wrapped(int[] order, IntUnaryOperator length, int room) {
    List<List<Part>> packs = new ArrayList<>();
    int left = 0;
    for (int row : order) {
      int end = length.applyAsInt(row);
      for (int from = 0; from < end; ) {
        if (left == 0) {
          packs.add(new ArrayList<>(2));
          left = room;
        }
        int to = Math.min(end, from + left);
        packs.get(packs.size() - 1).add(new Part(row, from, to));
        left -= to - from;
        from = to;
      }
    }
    return packs;
  }
}
