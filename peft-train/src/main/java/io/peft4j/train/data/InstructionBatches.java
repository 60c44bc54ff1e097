package io.peft4j.train.data;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.peft4j.InvalidConfigException;
import io.peft4j.train.Batch;
import io.peft4j.train.BatchSource;
import io.peft4j.train.Losses;
import io.peft4j.train.data.Packs.Part;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.Iterator;
import java.util.List;
import java.util.OptionalInt;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Batches of instruction data for causal language models. Which rows a batch has depends on the
 * seed and the epoch's number only, and is known before a row is read, so that a run goes on from
 * any batch at no cost. An epoch has each row once.
 *
 * <p>A batch has the inputs {@code input_ids} and, where they are needed, {@code attention_mask}
 * and {@code sequence_ids}, and one array of labels, not shifted, {@link Losses#IGNORED} where
 * nothing is trained; all int64 [rows, longest row of the batch], padded on the right. Where
 * several sequences share a row, {@code sequence_ids} number them from 1, with 0 at padding, and
 * the label of each one's first token is ignored: the token before, of another sequence, must not
 * predict it. Where nothing is padded there is no mask.
 *
 * <p>Packs are made once, from an order that depends on the seed, so that all epochs have as many
 * batches; their order differs. Immutable; holds no native memory.
 */
public final class InstructionBatches implements BatchSource {
  /** How many batches are sorted by length together. */
  private static final int CHUNK = 50;

  private final InstructionData data;
  private final int batchSize;
  private final boolean shuffled;
  private final boolean lengthGrouped;
  private final boolean paddingFree;
  private final long seed;
  private final @Nullable Device device;
  private final String description;
  private final List<List<Part>> packs;

  private InstructionBatches(Builder builder) {
    data = builder.data;
    batchSize = builder.batchSize;
    shuffled = builder.shuffled;
    lengthGrouped = builder.lengthGrouped;
    paddingFree = builder.paddingFree;
    seed = builder.seed;
    device = builder.device;
    if (batchSize < 1) {
      throw new InvalidConfigException("batch size must be above 0, was " + batchSize);
    }
    boolean packed = builder.packing != Packing.NONE;
    int room = builder.packLength == 0 ? data.maxLength() : builder.packLength;
    if (packed && room < data.maxLength() && builder.packing == Packing.BEST_FIT || room < 2) {
      throw new InvalidConfigException(
          "packs must hold the longest row, "
              + data.maxLength()
              + " tokens, and at least 2; given was "
              + room);
    }
    int[] rows = IntStream.range(0, data.size()).toArray();
    if (packed && shuffled) {
      shuffle(rows, new Random(mix(seed, -1)));
    }
    packs =
        switch (builder.packing) {
          case NONE -> Packs.single(rows, data::length);
          case BEST_FIT -> Packs.bestFit(rows, data::length, room);
          case WRAPPED -> Packs.wrapped(rows, data::length, room);
        };
    description =
        "%s; batches of %d, packing %s into %d%s%s%s"
            .formatted(
                data.description(),
                batchSize,
                builder.packing,
                room,
                paddingFree ? ", padding-free" : "",
                lengthGrouped ? ", grouped by length" : "",
                shuffled ? ", shuffled with seed " + seed : "");
  }

  /**
   * Starts with batches of 8 rows, shuffled, not packed.
   *
   * @param data the rows
   * @return a builder
   */
  public static Builder builder(InstructionData data) {
    return new Builder(data);
  }

  private static long mix(long seed, long which) {
    return seed * 0x9e3779b97f4a7c15L ^ Long.rotateLeft(which * 0xbf58476d1ce4e5b9L, 31);
  }

  private static void shuffle(int[] values, Random random) {
    for (int i = values.length - 1; i > 0; i--) {
      int other = random.nextInt(i + 1);
      int kept = values[i];
      values[i] = values[other];
      values[other] = kept;
    }
  }

  @Override
  public OptionalInt batchesPerEpoch() {
    return OptionalInt.of((packs.size() + batchSize - 1) / batchSize);
  }

  @Override
  public String description() {
    return description;
  }

  @Override
  public Iterator<Batch> epoch(int epoch) {
    return epoch(epoch, 0);
  }

  @Override
  public Iterator<Batch> epoch(int epoch, int skip) {
    List<int[]> plan = plan(epoch);
    return new Iterator<>() {
      private int next = skip;

      @Override
      public boolean hasNext() {
        return next < plan.size();
      }

      @Override
      public Batch next() {
        if (!hasNext()) {
          throw new java.util.NoSuchElementException("the epoch has no more batches");
        }
        return batch(plan.get(next++));
      }
    };
  }

  /** The packs of each batch. */
  private List<int[]> plan(int epoch) {
    int[] order = IntStream.range(0, packs.size()).toArray();
    Random random = new Random(mix(seed, epoch));
    if (shuffled) {
      shuffle(order, random);
    }
    if (lengthGrouped) {
      int chunk = (int) Math.min(Integer.MAX_VALUE, (long) CHUNK * batchSize);
      order =
          cut(order, chunk).stream()
              .flatMapToInt(
                  part ->
                      Arrays.stream(part)
                          .boxed()
                          .sorted(Comparator.comparingInt(pack -> length(packs.get(pack))))
                          .mapToInt(Integer::intValue))
              .toArray();
    }
    List<int[]> plan = cut(order, batchSize);
    if (lengthGrouped && shuffled) {
      Collections.shuffle(plan, random);
    }
    return plan;
  }

  private static List<int[]> cut(int[] order, int size) {
    List<int[]> parts = new ArrayList<>();
    for (int from = 0; from < order.length; from += size) {
      parts.add(Arrays.copyOfRange(order, from, (int) Math.min(order.length, (long) from + size)));
    }
    return parts;
  }

  private static int length(List<Part> pack) {
    return pack.stream().mapToInt(part -> part.to() - part.from()).sum();
  }

  private Batch batch(int[] chosen) {
    List<List<Part>> rows = new ArrayList<>();
    for (int pack : chosen) {
      rows.add(packs.get(pack));
    }
    if (paddingFree) {
      rows = List.of(rows.stream().flatMap(List::stream).toList());
    }
    int length = rows.stream().mapToInt(InstructionBatches::length).max().orElse(0);
    Filling arrays = new Filling(Math.multiplyExact(rows.size(), length), data.paddingId());
    int[] read = rows.stream().flatMap(List::stream).mapToInt(Part::row).toArray();
    Example[] examples = data.read(read);
    int next = 0;
    boolean several = false;
    int tokens = 0;
    for (int row = 0; row < rows.size(); row++) {
      int place = row * length;
      int number = 0;
      for (Part part : rows.get(row)) {
        Example example = examples[next++].part(part.from(), part.to());
        arrays.put(place, example, ++number);
        place += example.length();
        tokens += example.length();
      }
      several |= number > 1;
    }
    return made(arrays, new Shape(rows.size(), length), several, tokens, origin(read));
  }

  private Batch made(Filling arrays, Shape shape, boolean several, int tokens, String origin) {
    NDManager manager =
        device == null
            ? NDManager.newBaseManager("PyTorch")
            : NDManager.newBaseManager(device, "PyTorch");
    NDList inputs = new NDList(named(manager, arrays.ids(), shape, "input_ids"));
    if (several) {
      inputs.add(named(manager, arrays.sequences(), shape, "sequence_ids"));
    } else if (tokens < shape.size()) {
      inputs.add(named(manager, arrays.mask(), shape, "attention_mask"));
    }
    NDList labels = new NDList(named(manager, arrays.labels(), shape, "labels"));
    return new Batch(manager, inputs, labels, tokens, origin);
  }

  private static NDArray named(NDManager manager, long[] values, Shape shape, String name) {
    NDArray array = manager.create(values, shape);
    array.setName(name);
    return array;
  }

  /** Files and lines. */
  private String origin(int[] rows) {
    TreeMap<Integer, TreeSet<Integer>> lines = new TreeMap<>();
    for (int row : rows) {
      lines.computeIfAbsent(data.file(row), file -> new TreeSet<>()).add(data.line(row));
    }
    List<String> parts = new ArrayList<>();
    lines.forEach(
        (file, numbers) ->
            parts.add(
                data.path(file)
                    + (numbers.size() == 1 ? ", line " : ", lines ")
                    + String.join(", ", numbers.stream().map(String::valueOf).toList())));
    return String.join("; ", parts);
  }

  /** Collects settings. */
  public static final class Builder {
    private final InstructionData data;
    private int batchSize = 8;
    private Packing packing = Packing.NONE;
    private int packLength;
    private boolean shuffled = true;
    private boolean lengthGrouped;
    private boolean paddingFree;
    private long seed;
    private @Nullable Device device;

    private Builder(InstructionData data) {
      this.data = data;
    }

    /**
     * Sets how many rows, or packs, a batch has; 8 if not set. The last of an epoch may have fewer.
     *
     * @param value from 1
     * @return this
     */
    public Builder batchSize(int value) {
      batchSize = value;
      return this;
    }

    /**
     * Sets how rows are put together; {@link Packing#NONE} if not set.
     *
     * @param value the way
     * @return this
     */
    public Builder packing(Packing value) {
      packing = value;
      return this;
    }

    /**
     * Sets the most tokens of a pack; the data's {@link InstructionData#maxLength()} if not set.
     *
     * @param value tokens, at least those of the longest row that the data may have
     * @return this
     */
    public Builder packLength(int value) {
      packLength = value;
      return this;
    }

    /**
     * Sets whether the order is mixed; it is if not set. Otherwise it is that of the files.
     *
     * @param value true to mix
     * @return this
     */
    public Builder shuffled(boolean value) {
      shuffled = value;
      return this;
    }

    /**
     * Sets whether rows of like length come together; not if not set.
     *
     * @param value true to group
     * @return this
     */
    public Builder lengthGrouped(boolean value) {
      lengthGrouped = value;
      return this;
    }

    /**
     * Sets whether the sequences of a batch lie end to end in a single row, so that nothing is
     * padded; not if not set.
     *
     * @param value true for one row
     * @return this
     */
    public Builder paddingFree(boolean value) {
      paddingFree = value;
      return this;
    }

    /**
     * Sets what the order depends on, beside the epoch; 0 if not set.
     *
     * @param value any number
     * @return this
     */
    public Builder seed(long value) {
      seed = value;
      return this;
    }

    /**
     * Sets where batches are made; the engine's default device if not set.
     *
     * @param value the model's device
     * @return this
     */
    public Builder device(Device value) {
      device = value;
      return this;
    }

    /**
     * Checks and makes the batches' plan.
     *
     * @return the source
     * @throws InvalidConfigException if a size is out of range
     */
    public InstructionBatches build() {
      return new InstructionBatches(this);
    }
  }
}
