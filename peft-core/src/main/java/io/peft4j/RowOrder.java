package io.peft4j;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import io.peft4j.Members.Member;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.torch.Ops;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The rows of a mixed batch, put side by side by adapter, so that rows that share an adapter share
 * its work.
 */
final class RowOrder {
  private final List<Segment> segments = new ArrayList<>();
  private final long[] sorted;
  private final boolean moved;

  RowOrder(List<String> rows, int copies, LeasedAdapters adapters) {
    Map<String, List<Integer>> groups = new LinkedHashMap<>();
    int count = Math.multiplyExact(rows.size(), copies);
    for (int row = 0; row < count; row++) {
      groups.computeIfAbsent(rows.get(row / copies), name -> new ArrayList<>()).add(row);
    }
    sorted = new long[count];
    int next = 0;
    boolean differs = false;
    for (Map.Entry<String, List<Integer>> group : groups.entrySet()) {
      int begin = next;
      for (int row : group.getValue()) {
        differs |= row != next;
        sorted[next++] = row;
      }
      boolean base = group.getKey().equals(AdapterSet.BASE);
      List<Member> acting = base ? List.of() : adapters.members(group.getKey());
      segments.add(Members.segment(begin, next, acting));
    }
    moved = differs;
  }

  List<Segment> segments() {
    return segments;
  }

  NDList sort(NDList inputs) {
    return moved ? take(inputs, sorted) : inputs;
  }

  NDList restore(NDList outputs) {
    if (!moved) {
      return outputs;
    }
    long[] back = new long[sorted.length];
    for (int i = 0; i < sorted.length; i++) {
      back[(int) sorted[i]] = i;
    }
    return take(outputs, back);
  }

  private static NDList take(NDList arrays, long[] order) {
    NDList taken = new NDList(arrays.size());
    for (NDArray array : arrays) {
      NDManager manager = array.getManager();
      try (NDArray index = Ops.engineOwned(manager.create(order))) {
        NDArray rows = array.get(index);
        rows.setName(array.getName());
        taken.add(rows);
      }
    }
    return taken;
  }
}
