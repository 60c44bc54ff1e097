package io.peft4j.train;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterSet;
import io.peft4j.InvalidConfigException;
import io.peft4j.torch.GradMode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.Iterator;
import java.util.List;
import java.util.OptionalInt;
import java.util.Random;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Tokenized texts with a class each, as batches of texts of like length, so that little is computed
 * for padding.
 *
 * <p>An epoch is made so: the texts are shuffled, cut into chunks of {@value #CHUNK} batches, each
 * chunk is sorted by length and cut into batches, and the batches are shuffled. The order depends
 * on the seed and the epoch's number only.
 *
 * <p>A batch has the inputs {@code input_ids} and {@code attention_mask}, both int64 [rows, longest
 * of the batch], padded on the right, and the labels int64 [rows]. Immutable; holds no native
 * memory.
 */
public final class ClassificationBatches implements BatchSource {
  private static final int CHUNK = 50;

  private final List<long[]> tokens;
  private final int[] labels;
  private final List<String> adapters;
  private final int batchSize;
  private final long paddingId;
  private final long seed;
  private final @Nullable Device device;

  private ClassificationBatches(Builder builder) {
    tokens = List.copyOf(builder.tokens);
    labels = builder.labels.stream().mapToInt(Integer::intValue).toArray();
    adapters = List.copyOf(builder.adapters);
    batchSize = builder.batchSize;
    paddingId = builder.paddingId;
    seed = builder.seed;
    device = builder.device;
    if (tokens.isEmpty() || batchSize < 1) {
      throw new InvalidConfigException(
          "texts and batch size must be above 0, were " + tokens.size() + " and " + batchSize);
    }
    if (!adapters.isEmpty() && adapters.size() != tokens.size()) {
      throw new InvalidConfigException(
          "all texts or none must name an adapter, "
              + adapters.size()
              + " of "
              + tokens.size()
              + " do");
    }
  }

  /**
   * Starts without texts.
   *
   * @return a builder
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * How many texts there are.
   *
   * @return rows of an epoch
   */
  public int size() {
    return labels.length;
  }

  /**
   * The class of a text.
   *
   * @param row the text, from 0 in the order of adding
   * @return its class
   */
  public int label(int row) {
    return labels[row];
  }

  @Override
  public OptionalInt batchesPerEpoch() {
    int chunk = CHUNK * batchSize;
    int rest = size() % chunk;
    return OptionalInt.of(size() / chunk * CHUNK + (rest + batchSize - 1) / batchSize);
  }

  @Override
  public Iterator<Batch> epoch(int epoch) {
    return epoch(epoch, 0);
  }

  @Override
  public Iterator<Batch> epoch(int epoch, int skip) {
    Random random = Shuffles.random(seed, epoch);
    List<int[]> batches = new ArrayList<>();
    for (int[] chunk : Shuffles.cut(Shuffles.shuffled(size(), random), CHUNK * batchSize)) {
      batches.addAll(byLength(chunk));
    }
    Collections.shuffle(batches, random);
    return Shuffles.each(batches, skip, this::batch);
  }

  @Override
  public String description() {
    return size() + " texts in batches of " + batchSize + " shuffled with seed " + seed;
  }

  private List<int[]> byLength(int[] rows) {
    List<Integer> order = new ArrayList<>();
    for (int row : rows) {
      order.add(row);
    }
    order.sort(Comparator.comparingInt(row -> tokens.get(row).length));
    return Shuffles.cut(order, batchSize);
  }

  /**
   * The batch of chosen texts.
   *
   * @param rows the texts, from 0 in the order of adding; at least one
   * @return the batch; the caller closes it
   */
  public Batch batch(int... rows) {
    int longest = 0;
    long count = 0;
    for (int row : rows) {
      longest = Math.max(longest, tokens.get(row).length);
      count += tokens.get(row).length;
    }
    long[] ids = new long[rows.length * longest];
    long[] mask = new long[ids.length];
    long[] classes = new long[rows.length];
    for (int i = 0; i < rows.length; i++) {
      long[] text = tokens.get(rows[i]);
      int start = i * longest;
      System.arraycopy(text, 0, ids, start, text.length);
      Arrays.fill(ids, start + text.length, start + longest, paddingId);
      Arrays.fill(mask, start, start + text.length, 1);
      classes[i] = labels[rows[i]];
    }
    Shape shape = new Shape(rows.length, longest);
    NDManager manager =
        device == null
            ? NDManager.newBaseManager("PyTorch")
            : NDManager.newBaseManager(device, "PyTorch");
    Batch batch =
        new Batch(
            manager,
            new NDList(manager.create(ids, shape), manager.create(mask, shape)),
            new NDList(manager.create(classes)),
            count);
    return adapters.isEmpty()
        ? batch
        : batch.withAdapters(Arrays.stream(rows).mapToObj(adapters::get).toList());
  }

  /**
   * All texts once, texts of like length together, for evaluation.
   *
   * @return the rows of each batch, for {@link #batch}
   */
  public List<int[]> batchesByLength() {
    return byLength(IntStream.range(0, size()).toArray());
  }

  /**
   * The class that a model finds likeliest for each text.
   *
   * @param model computes logits [rows, classes], its first output, from a batch's inputs, without
   *     dropout: {@code model::forward} of a {@link io.peft4j.PeftModel}
   * @return classes in the order of adding
   */
  public int[] predict(UnaryOperator<NDList> model) {
    int[] predictions = new int[size()];
    for (int[] rows : batchesByLength()) {
      try (GradMode off = GradMode.off();
          Batch batch = batch(rows);
          NDScope scope = new NDScope()) {
        scope.suppressNotUsedWarning();
        NDArray logits = model.apply(batch.inputs()).head();
        long[] likeliest = logits.argMax(1).toLongArray();
        for (int i = 0; i < rows.length; i++) {
          predictions[rows[i]] = (int) likeliest[i];
        }
      }
    }
    return predictions;
  }

  /**
   * The share of predictions that are right.
   *
   * @param predictions classes in the order of adding, as {@link #predict} gives them
   * @return from 0 to 1
   * @throws InvalidConfigException if there are not as many as texts
   */
  public double accuracy(int[] predictions) {
    if (predictions.length != labels.length) {
      throw new InvalidConfigException(
          predictions.length + " predictions were given for " + labels.length + " texts");
    }
    int right = 0;
    for (int row = 0; row < labels.length; row++) {
      right += predictions[row] == labels[row] ? 1 : 0;
    }
    return (double) right / labels.length;
  }

  /**
   * The share of texts whose class a model finds.
   *
   * @param model as {@link #predict} takes it
   * @return from 0 to 1
   */
  public double accuracy(UnaryOperator<NDList> model) {
    return accuracy(predict(model));
  }

  /** Collects texts. */
  public static final class Builder {
    private final List<long[]> tokens = new ArrayList<>();
    private final List<Integer> labels = new ArrayList<>();
    private final List<String> adapters = new ArrayList<>();
    private int batchSize = 32;
    private long paddingId;
    private long seed;
    private @Nullable Device device;

    private Builder() {}

    /**
     * Adds a text.
     *
     * @param ids its token ids, special tokens included, cut to what the model takes; at least one;
     *     copied
     * @param label its class, from 0
     * @return this
     * @throws InvalidConfigException if there is no token or the class is negative
     */
    public Builder add(long[] ids, int label) {
      if (ids.length == 0 || label < 0) {
        throw new InvalidConfigException(
            "text "
                + tokens.size()
                + " must have at least one token and a class from 0, has "
                + ids.length
                + " tokens and class "
                + label);
      }
      tokens.add(ids.clone());
      labels.add(label);
      return this;
    }

    /**
     * Adds a text of one of several tasks that are trained together, each with an adapter of its
     * own.
     *
     * @param ids its token ids, as for {@link #add(long[], int)}
     * @param label its class, from 0
     * @param adapter the adapter that alone acts on it
     * @return this
     * @throws InvalidConfigException if there is no token, the class is negative, or that cannot be
     *     the name of an adapter
     */
    public Builder add(long[] ids, int label, String adapter) {
      AdapterSet.rows(adapter);
      add(ids, label);
      adapters.add(adapter);
      return this;
    }

    /**
     * Sets how many texts a batch has; 32 if not set.
     *
     * @param value from 1
     * @return this
     */
    public Builder batchSize(int value) {
      batchSize = value;
      return this;
    }

    /**
     * Sets what shorter texts are filled up with; 0 if not set.
     *
     * @param value a token id
     * @return this
     */
    public Builder paddingId(long value) {
      paddingId = value;
      return this;
    }

    /**
     * Sets what the order of an epoch depends on, beside its number; 0 if not set.
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
     * Checks and makes the batches.
     *
     * @return the source
     * @throws InvalidConfigException if there is no text, or the batch size is not above 0
     */
    public ClassificationBatches build() {
      return new ClassificationBatches(this);
    }
  }
}
