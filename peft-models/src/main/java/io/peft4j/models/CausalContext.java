package io.peft4j.models;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.DataType;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.nn.FusedLinear;
import io.peft4j.nn.Pass;
import io.peft4j.torch.Attention;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What the layers of a decoder share in one pass: positions, masks, and the cache if there is one.
 * Arrays belong to the pass.
 */
public final class CausalContext {
  private final ModelInputs inputs;
  private final @Nullable KeyValueCache cache;
  private final long past;
  private final NDArray positions;
  private final Map<Integer, NDArray> masks = new HashMap<>();
  private final boolean whole;

  /**
   * Prepares a pass.
   *
   * @param inputs its inputs
   * @param windows how many tokens a token sees, itself included, in the model's layers: 0 for all
   *     before it
   */
  public CausalContext(ModelInputs inputs, int... windows) {
    this.inputs = inputs;
    cache = inputs.cache();
    past = cache == null ? 0 : cache.length();
    NDArray given = inputs.positions();
    positions =
        given == null
            ? inputs
                .manager()
                .arange((int) past, (int) (past + inputs.length()), 1, DataType.INT64)
                .expandDims(0)
            : given;
    if (cache != null) {
      cache.begin(inputs.length());
    }
    PackedSequences sequences = inputs.sequences();
    whole = sequences != null && whole(sequences, inputs.padding());
    // Made now: what a layer makes goes with the layer's scope.
    for (int window : windows) {
      if (needed(window)) {
        masks.computeIfAbsent(
            limit(window),
            w ->
                Attention.causalMask(
                    inputs.manager(),
                    inputs.padding(),
                    sequences == null ? null : sequences.numbers(),
                    past,
                    inputs.length(),
                    w));
      }
    }
  }

  /**
   * The position of each token.
   *
   * @return int64 [batch or 1, length]
   */
  public NDArray positions() {
    return positions;
  }

  /** Whether each sequence is all tokens or all padding: what padding gives is seen by nothing. */
  private static boolean whole(PackedSequences sequences, @Nullable NDArray padding) {
    if (padding == null) {
      return true;
    }
    float[] hidden = padding.toFloatArray();
    int place = 0;
    for (int[] starts : sequences.bounds()) {
      for (int i = 0; i + 1 < starts.length; i++) {
        float first = hidden[place];
        for (int end = place + starts[i + 1] - starts[i]; place < end; place++) {
          if (hidden[place] != first) {
            return false;
          }
        }
      }
    }
    return true;
  }

  /**
   * What rows are packed from, for attention that goes over each sequence by itself.
   *
   * @param window how many tokens a token sees, itself included; 0 for all before it
   * @return the sequences; null if a row is one, and where causality alone does not say what a
   *     token of a sequence sees
   */
  public @Nullable PackedSequences sequences(int window) {
    PackedSequences sequences = inputs.sequences();
    return sequences != null && whole && (window == 0 || window >= sequences.longest())
        ? sequences
        : null;
  }

  /**
   * What is added to scores, in a pass without cache.
   *
   * @param window one of the windows that this was made with
   * @return float32 [batch or 1, 1, length, length]; null if a token sees all tokens up to itself
   */
  public @Nullable NDArray mask(int window) {
    return masks.get(limit(window));
  }

  /**
   * Attends causally.
   *
   * @param layer number of the layer, from 0
   * @param attention heads, scale and bound
   * @param query float32 [batch, length, heads · size]
   * @param key float32 [batch, length, keyValueHeads · size]
   * @param value as {@code key}
   * @param window one of the windows that this was made with
   * @param dropout probability with which attention weights are dropped
   * @return float32 [batch, length, heads · size]
   */
  public NDArray attend(
      int layer,
      Attention attention,
      NDArray query,
      NDArray key,
      NDArray value,
      int window,
      double dropout) {
    if (cache == null) {
      NDArray mask = masks.get(limit(window));
      return attention.attend(query, key, value, mask, mask == null, dropout);
    }
    CacheView view = cacheView(layer, window);
    return attention.attendCached(
        query, key, value, view.keys, view.values, view.past, view.mask, view.window);
  }

  /**
   * Whether causality alone does not say what a token sees. A single token over a cache needs no
   * mask for its window: it is given just the keys in it.
   */
  private boolean needed(int window) {
    boolean single = cache != null && inputs.length() == 1;
    return inputs.padding() != null
        || inputs.sequences() != null
        || (!single && (limit(window) > 0 || past > 0));
  }

  /** A window that nothing exceeds makes the same mask as none. */
  private int limit(int window) {
    return window < past + inputs.length() ? window : 0;
  }

  /**
   * Tells whether layers may compute as one kernel: the pass computes one more token of a few rows
   * over a cache, and nothing is recorded or dropped out. Prompts are left to layers one by one, so
   * that reading one does not pay for packing the weights.
   *
   * @param pass the pass
   * @return true if so
   */
  public boolean fusable(Pass pass) {
    return cache != null
        && !pass.dropout()
        && inputs.length() == 1
        && inputs.lastOnly()
        && inputs.batch() <= FusedLinear.MOST_ROWS
        && !JniUtils.isGradMode();
  }

  /**
   * Tells whether layers may compute as when they are trained by hand, keeping nothing: the pass
   * reads many tokens, and nothing is recorded or dropped out.
   *
   * @param pass the pass
   * @return true if so
   */
  public boolean readable(Pass pass) {
    return !pass.dropout() && inputs.length() > 1 && !JniUtils.isGradMode();
  }

  /**
   * Tells whether keys and values of earlier tokens are held and those of this pass are to be.
   *
   * @return true if there is a cache
   */
  public boolean cached() {
    return cache != null;
  }

  /**
   * What a layer that computes as one kernel needs of the cache.
   *
   * @param keys float32 [batch, heads, capacity, size]
   * @param values as {@code keys}
   * @param past int64 scalar, how many tokens are in the cache
   * @param mask what is added to scores; null for none
   * @param window how many keys a single query without mask sees; 0 for all
   */
  public record CacheView(
      NDArray keys, NDArray values, NDArray past, @Nullable NDArray mask, int window) {}

  /**
   * A layer's part of the cache.
   *
   * @param layer number of the layer
   * @param window one of the windows that this was made with
   * @return arrays of the cache, to be written to as {@link Attention#attendCached} does
   */
  public CacheView cacheView(int layer, int window) {
    if (cache == null) {
      throw new IllegalStateException("there is no cache");
    }
    NDArray mask = masks.get(limit(window));
    boolean narrowed = mask == null && inputs.length() == 1;
    return cache.view(layer, mask, narrowed ? window : 0);
  }

  /** Ends the pass: the cache holds its tokens now. */
  public void end() {
    if (cache != null) {
      cache.end(inputs.length());
    }
  }
}
