package io.peft4j.models;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.torch.Ops;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The inputs of one pass, checked: {@code input_ids}, {@code attention_mask} (1 for tokens, 0 for
 * padding on any side; optional), {@code token_type_ids} (optional), {@code position_ids} and
 * {@code sequence_ids} (optional, for decoders), each [batch, length]. They are told apart by their
 * names if they have names, else by their order.
 *
 * <p>Rows may be packed: then {@code sequence_ids} number the sequences of each row, a token sees
 * only tokens of its own sequence, and positions, unless given, count from 0 in each. Any numbers
 * will do, for padding too, which is a sequence of its own that nothing else sees. A row may be
 * longer than the model's context if none of its sequences is.
 *
 * <p>A pass that goes on from a cache has the tokens after those in the cache, and a padding mask
 * for both.
 */
public final class ModelInputs {
  private static final List<String> NAMES =
      List.of("input_ids", "attention_mask", "token_type_ids", "position_ids", "sequence_ids");

  private final NDArray ids;
  private final long[] idValues;
  private final @Nullable NDArray padding;
  private final @Nullable NDArray types;
  private final @Nullable NDArray positions;
  private final @Nullable PackedSequences sequences;
  private final @Nullable KeyValueCache cache;
  private final boolean lastOnly;

  private ModelInputs(
      NDArray ids,
      long[] idValues,
      @Nullable NDArray padding,
      @Nullable NDArray types,
      @Nullable NDArray positions,
      @Nullable PackedSequences sequences,
      @Nullable KeyValueCache cache,
      boolean lastOnly) {
    this.ids = ids;
    this.idValues = idValues;
    this.padding = padding;
    this.types = types;
    this.positions = positions;
    this.sequences = sequences;
    this.cache = cache;
    this.lastOnly = lastOnly;
  }

  /**
   * The inputs of a step over a cache, which the generation loop has checked.
   *
   * @param ids int64 [batch, length]
   * @param padding float32 [batch, 1, 1, cached + length], minus infinity at padding; or null
   * @param positions int64 [batch, length]
   * @param cache what the tokens before have left
   */
  static ModelInputs step(
      NDArray ids, @Nullable NDArray padding, NDArray positions, KeyValueCache cache) {
    return step(ids, padding, positions, cache, true);
  }

  /**
   * The inputs of a step over a cache, which the generation loop has checked.
   *
   * @param ids int64 [batch, length]
   * @param padding float32 [batch, 1, 1, cached + length], minus infinity at padding; or null
   * @param positions int64 [batch, length]
   * @param cache what the tokens before have left
   * @param lastOnly whether only the output at the last token is wanted
   */
  static ModelInputs step(
      NDArray ids,
      @Nullable NDArray padding,
      NDArray positions,
      KeyValueCache cache,
      boolean lastOnly) {
    return new ModelInputs(ids, ids.toLongArray(), padding, null, positions, null, cache, lastOnly);
  }

  /**
   * Checks inputs and brings them into the form that models compute with. New arrays are attached
   * to the manager of the ids.
   *
   * @param inputs int64 or int32 arrays [batch, length]; the mask may also be boolean or float32
   * @param limits what the model takes
   * @return the inputs
   * @throws InvalidInputException if an input is missing, unknown, of the wrong type or shape, or
   *     has values that the model does not take
   */
  static ModelInputs of(NDList inputs, Network.InputLimits limits) {
    @Nullable NDArray[] found = sort(inputs);
    NDArray given = found[0];
    if (given == null) {
      throw new InvalidInputException(
          "input_ids are missing; given were " + inputs.stream().map(NDArray::getName).toList());
    }
    Shape shape = given.getShape();
    if (shape.dimension() != 2 || shape.size() == 0) {
      throw new InvalidInputException(
          "input_ids must be [batch, length] with at least one row and one token; given was "
              + shape);
    }
    PackedSequences sequences = found[4] == null ? null : sequences(found[4], shape, limits);
    long longest = sequences == null ? shape.get(1) : sequences.longest();
    if (longest > limits.longest()) {
      throw new InvalidInputException(
          "the model takes at most "
              + limits.longest()
              + " tokens in a "
              + (sequences == null ? "row" : "sequence")
              + "; given were "
              + longest);
    }
    NDArray ids = integers(NAMES.get(0), given);
    long[] idValues = values(NAMES.get(0), ids, limits.vocabulary());
    NDArray padding = found[1] == null ? null : padding(found[1], shape, ids.getManager());
    NDArray types = null;
    if (found[2] != null) {
      if (limits.tokenTypes() == 0) {
        throw new InvalidInputException("the model takes no token_type_ids");
      }
      checkShape(NAMES.get(2), found[2], shape);
      types = integers(NAMES.get(2), found[2]);
      values(NAMES.get(2), types, limits.tokenTypes());
    }
    NDArray positions = null;
    if (found[3] != null) {
      if (limits.positions() == 0) {
        throw new InvalidInputException("the model takes no position_ids");
      }
      checkShape(NAMES.get(3), found[3], shape);
      positions = integers(NAMES.get(3), found[3]);
      values(NAMES.get(3), positions, limits.positions());
    } else if (sequences != null) {
      positions = Ops.engineOwned(ids.getManager().create(sequences.positions(), shape));
    }
    return new ModelInputs(ids, idValues, padding, types, positions, sequences, null, false);
  }

  private static PackedSequences sequences(NDArray given, Shape shape, Network.InputLimits limits) {
    if (limits.positions() == 0) {
      throw new InvalidInputException("the model takes no sequence_ids; only decoders do");
    }
    checkShape(NAMES.get(4), given, shape);
    return new PackedSequences(
        integers(NAMES.get(4), given), (int) shape.get(0), (int) shape.get(1));
  }

  private static @Nullable NDArray[] sort(NDList inputs) {
    @Nullable NDArray[] found = new NDArray[NAMES.size()];
    boolean named = inputs.stream().anyMatch(array -> array.getName() != null);
    for (int i = 0; i < inputs.size(); i++) {
      NDArray array = inputs.get(i);
      String name = array.getName();
      int place = !named ? i : name == null ? -1 : NAMES.indexOf(name);
      if (place < 0 || place >= found.length || found[place] != null) {
        throw new InvalidInputException(
            "inputs are "
                + String.join(", ", NAMES)
                + ", each at most once, all with their names or none; given was "
                + (!named
                    ? inputs.size() + " arrays without names"
                    : name == null ? "one without a name beside others" : "'" + name + "'"));
      }
      found[place] = array;
    }
    return found;
  }

  private static void checkShape(String name, NDArray array, Shape shape) {
    if (!array.getShape().equals(shape)) {
      throw new InvalidInputException(
          name + " must have the shape of input_ids, " + shape + "; given was " + array.getShape());
    }
  }

  private static NDArray integers(String name, NDArray array) {
    DataType type = array.getDataType();
    if (type != DataType.INT64 && type != DataType.INT32) {
      throw new InvalidInputException(name + " must be int64 or int32; given was " + type);
    }
    return array.toType(DataType.INT64, false);
  }

  /** Out of range, the engine would read other memory or end with an obscure error. */
  private static long[] values(String name, NDArray array, int limit) {
    long[] values = array.toLongArray();
    for (int i = 0; i < values.length; i++) {
      if (values[i] < 0 || values[i] >= limit) {
        long length = array.getShape().get(1);
        throw new InvalidInputException(
            name
                + " must be from 0 to "
                + (limit - 1)
                + "; row "
                + i / length
                + " has "
                + values[i]
                + " at position "
                + i % length);
      }
    }
    return values;
  }

  private static @Nullable NDArray padding(NDArray mask, Shape shape, NDManager manager) {
    checkShape(NAMES.get(1), mask, shape);
    DataType type = mask.getDataType();
    if (type != DataType.INT64
        && type != DataType.INT32
        && type != DataType.BOOLEAN
        && type != DataType.FLOAT32) {
      throw new InvalidInputException(
          "attention_mask must be int64, int32, boolean or float32; given was " + type);
    }
    float[] values;
    if (type == DataType.FLOAT32) {
      values = mask.toFloatArray();
    } else {
      try (NDArray floats = mask.toType(DataType.FLOAT32, true)) {
        values = floats.toFloatArray();
      }
    }
    boolean padded = false;
    for (int i = 0; i < values.length; i++) {
      if (values[i] != 0 && values[i] != 1) {
        throw new InvalidInputException(
            "attention_mask must be 1 for tokens and 0 for padding; given was " + values[i]);
      }
      padded |= values[i] == 0;
      values[i] = values[i] == 0 ? Float.NEGATIVE_INFINITY : 0;
    }
    return padded
        ? Ops.engineOwned(manager.create(values, new Shape(shape.get(0), 1, 1, shape.get(1))))
        : null;
  }

  /**
   * The tokens.
   *
   * @return int64 [batch, length], every value below the vocabulary's size
   */
  public NDArray ids() {
    return ids;
  }

  /**
   * The tokens, row after row.
   *
   * @return the values of {@link #ids()}; not to be modified
   */
  public long[] idValues() {
    return idValues;
  }

  /**
   * What is added to attention scores because of padding.
   *
   * @return float32 [batch, 1, 1, cached + length], minus infinity at padding; null if nothing is
   *     padded
   */
  public @Nullable NDArray padding() {
    return padding;
  }

  /**
   * The token types.
   *
   * @return int64 [batch, length]; null if none were given, which means zeros
   */
  public @Nullable NDArray types() {
    return types;
  }

  /**
   * The positions.
   *
   * @return int64 [batch, length], those of packed rows too; null if none were given, which means
   *     that they count from 0 at the first token or padding of a row
   */
  public @Nullable NDArray positions() {
    return positions;
  }

  /**
   * What rows are packed from.
   *
   * @return the sequences; null if a row is one
   */
  public @Nullable PackedSequences sequences() {
    return sequences;
  }

  /**
   * What the tokens before these have left.
   *
   * @return the cache; null for a pass by itself
   */
  public @Nullable KeyValueCache cache() {
    return cache;
  }

  /**
   * Tells whether only the output at the last token of each row is wanted, as when text is
   * generated.
   *
   * @return false where all tokens' outputs are
   */
  public boolean lastOnly() {
    return lastOnly;
  }

  /**
   * The number of rows.
   *
   * @return the first dimension of {@link #ids()}
   */
  public long batch() {
    return ids.getShape().get(0);
  }

  /**
   * The number of tokens in a row, padding included.
   *
   * @return the second dimension of {@link #ids()}
   */
  public long length() {
    return ids.getShape().get(1);
  }

  /**
   * Where new arrays of this pass belong.
   *
   * @return the manager of the ids
   */
  public NDManager manager() {
    return ids.getManager();
  }
}
