package io.peft4j.train;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.Random;
import java.util.function.Function;

/** Orders that depend on a seed and nothing else. */
final class Shuffles {
  private Shuffles() {}

  /** A generator for one of many things of the same seed. */
  static Random random(long seed, long which) {
    return new Random(mix(seed, which));
  }

  /** Seeds that lie side by side would give generators that begin alike: SplitMix64's finalizer. */
  static long mix(long seed, long which) {
    long z = seed + 0x9e3779b97f4a7c15L * (which + 1);
    z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
    z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
    return z ^ (z >>> 31);
  }

  static List<Integer> shuffled(int rows, Random random) {
    List<Integer> order = new ArrayList<>(rows);
    for (int row = 0; row < rows; row++) {
      order.add(row);
    }
    Collections.shuffle(order, random);
    return order;
  }

  static List<int[]> cut(List<Integer> order, int size) {
    List<int[]> batches = new ArrayList<>();
    for (int from = 0; from < order.size(); from += size) {
      List<Integer> rows = order.subList(from, Math.min(order.size(), from + size));
      batches.add(rows.stream().mapToInt(Integer::intValue).toArray());
    }
    return batches;
  }

  /** Makes each thing when it is taken, not when it is asked whether there is one. */
  static <S, T> Iterator<T> each(List<S> all, int skip, Function<? super S, ? extends T> made) {
    Iterator<S> rest = all.subList(Math.min(skip, all.size()), all.size()).iterator();
    return new Iterator<>() {
      @Override
      public boolean hasNext() {
        return rest.hasNext();
      }

      @Override
      public T next() {
        return made.apply(rest.next());
      }
    };
  }
}
