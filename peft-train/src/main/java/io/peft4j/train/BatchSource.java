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
   * The batches of an epoch, each made when it is taken. An iterator that is {@link AutoCloseable},
   * because it has files open, is closed by the trainer, which need not take all of its batches.
   *
   * @param epoch from 0
   * @return the batches; whoever takes one closes it
   */
  Iterator<Batch> epoch(int epoch);

  /**
   * The batches of an epoch but for the first ones, with which a run that was interrupted goes on.
   *
   * @param epoch from 0
   * @param skip how many batches to leave out, from 0
   * @return the rest; whoever takes a batch closes it. By default the first are made and closed: a
   *     source that can leave them unmade does so here
   */
  default Iterator<Batch> epoch(int epoch, int skip) {
    Iterator<Batch> batches = epoch(epoch);
    for (int i = 0; i < skip && batches.hasNext(); i++) {
      batches.next().close();
    }
    return batches;
  }

  /**
   * What decides which batches there are: a run is taken up again only with a source that says the
   * same.
   *
   * @return short text, for example files, sizes and seed; by default the source's kind only
   */
  default String description() {
    return "batches";
  }

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
        return epoch(epoch, 0);
      }

      @Override
      public Iterator<Batch> epoch(int epoch, int skip) {
        return Shuffles.each(all, skip, Supplier::get);
      }

      @Override
      public String description() {
        return all.size() + " batches";
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
        return epoch(epoch, 0);
      }

      @Override
      public Iterator<Batch> epoch(int epoch, int skip) {
        List<Integer> order = Shuffles.shuffled(rows, Shuffles.random(seed, epoch));
        return Shuffles.each(Shuffles.cut(order, batchSize), skip, batch);
      }

      @Override
      public String description() {
        return rows + " rows in batches of " + batchSize + " shuffled with seed " + seed;
      }

      @Override
      public OptionalInt batchesPerEpoch() {
        return OptionalInt.of((rows + batchSize - 1) / batchSize);
      }
    };
  }
}
