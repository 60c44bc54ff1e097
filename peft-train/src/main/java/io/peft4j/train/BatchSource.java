package io.peft4j.train;

import io.peft4j.InvalidConfigException;
import java.util.Iterator;
import java.util.List;
import java.util.OptionalInt;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * Where batches come from. The batches of an epoch depend on nothing but the epoch's number, so
 * that a run can be repeated and taken up again.
 */
@FunctionalInterface
public interface BatchSource {
  /**
   * The batches of an epoch, each made when it is asked for.
   *
   * @param epoch from 0
   * @return the batches; whoever takes one closes it
   */
  Iterator<Batch> epoch(int epoch);

  /**
   * How many batches an epoch has.
   *
   * @return the number, or empty if it is not known before they have been made
   */
  default OptionalInt batchesPerEpoch() {
    return OptionalInt.empty();
  }

  /**
   * The same batches in the same order in each epoch.
   *
   * @param batches makes each batch anew whenever it is asked for
   * @return the source
   */
  static BatchSource of(List<? extends Supplier<Batch>> batches) {
    List<Supplier<Batch>> all = List.copyOf(batches);
    return new BatchSource() {
      @Override
      public Iterator<Batch> epoch(int epoch) {
        return all.stream().map(Supplier::get).iterator();
      }

      @Override
      public OptionalInt batchesPerEpoch() {
        return OptionalInt.of(all.size());
      }
    };
  }

  /**
   * Batches from a sequence of unknown length, which is begun anew with each epoch.
   *
   * @param batches makes each batch when it is asked for
   * @return the source
   */
  static BatchSource streamed(Iterable<Batch> batches) {
    return epoch -> batches.iterator();
  }

  /**
   * Rows in an order that differs from epoch to epoch, cut into batches; the last one of an epoch
   * may be smaller.
   *
   * @param rows how many rows there are, above 0
   * @param batchSize rows of a batch, above 0
   * @param seed what the order depends on, beside the epoch
   * @param batch makes the batch of given rows
   * @return the source
   * @throws InvalidConfigException if there are no rows or the size is not above 0
   */
  static BatchSource shuffled(int rows, int batchSize, long seed, Function<int[], Batch> batch) {
    if (rows < 1 || batchSize < 1) {
      throw new InvalidConfigException(
          "rows and batch size must be above 0, were " + rows + " and " + batchSize);
    }
    return new BatchSource() {
      @Override
      public Iterator<Batch> epoch(int epoch) {
        List<Integer> order = Shuffles.shuffled(rows, Shuffles.random(seed, epoch));
        return Shuffles.cut(order, batchSize).stream().map(batch).iterator();
      }

      @Override
      public OptionalInt batchesPerEpoch() {
        return OptionalInt.of((rows + batchSize - 1) / batchSize);
      }
    };
  }
}
