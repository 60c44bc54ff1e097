package io.peft4j.torch;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import java.util.ArrayList;
import java.util.List;

/**
 * Causal attention, forward and backward, in rows that are packed from sequences: each sequence by
 * itself, so that nothing is computed of what tokens do not see, and no mask is needed.
 *
 * @param attention heads and scale
 * @param precision as for {@link Attention#attendKeeping}
 * @param bounds for each row the places at which its sequences begin, ascending from 0, and the
 *     row's length
 */
public record PackedAttention(Attention attention, Precision precision, List<int[]> bounds) {
  private static final Kernel EMPTY =
      Kernel.of("x: Tensor -> Tensor", "return torch.empty_like(x)");
  private static final String TOKENS =
      "torch.slice(torch.reshape(%s, [1, -1, torch.size(%<s, 2)]), 1, int(f), int(e), 1)";
  private static final Kernel PIECE =
      Kernel.of("x: Tensor, f: Tensor, e: Tensor -> Tensor", "return " + TOKENS.formatted("x"));
  private static final Kernel STORE =
      Kernel.of(
          "x: Tensor, y: Tensor, f: Tensor, e: Tensor -> Tensor",
          "return torch.copy_(" + TOKENS.formatted("x") + ", y)");

  /**
   * Attends as {@link Attention#attendKeeping} does.
   *
   * @param query [batch, length, heads · size]
   * @param key [batch, length, keyValueHeads · size]
   * @param value as {@code key}
   * @return the result, and what {@link #gradients} needs
   */
  public NDList attendKeeping(NDArray query, NDArray key, NDArray value) {
    NDList results = new NDList(EMPTY.call(query));
    for (NDArray[] piece : pieces(query)) {
      NDList kept =
          attention.attendKeeping(
              precision, cut(query, piece), cut(key, piece), cut(value, piece), null);
      store(results.head(), kept.head(), piece);
      // Nothing or the logarithms of sums.
      results.addAll(kept.subNDList(1));
    }
    return results;
  }

  /**
   * The gradients of query, key and value.
   *
   * @param query as was given to {@link #attendKeeping}
   * @param key as was given
   * @param value as was given
   * @param kept what {@link #attendKeeping} gave
   * @param above the gradient of its result
   * @return three arrays of the shapes of query, key and value
   */
  public NDList gradients(NDArray query, NDArray key, NDArray value, NDList kept, NDArray above) {
    NDList gradients = new NDList(EMPTY.call(query), EMPTY.call(key), EMPTY.call(value));
    int number = 0;
    for (NDArray[] piece : pieces(query)) {
      number++;
      NDList own = new NDList(cut(kept.head(), piece));
      if (kept.size() > 1) {
        own.add(kept.get(number));
      }
      NDList parts =
          attention.gradients(
              precision,
              cut(query, piece),
              cut(key, piece),
              cut(value, piece),
              null,
              own,
              cut(above, piece));
      for (int i = 0; i < parts.size(); i++) {
        store(gradients.get(i), parts.get(i), piece);
      }
    }
    return gradients;
  }

  /** Begin and end of each sequence, counted through all rows. */
  private List<NDArray[]> pieces(NDArray like) {
    List<NDArray[]> pieces = new ArrayList<>();
    long row = 0;
    for (int[] starts : bounds) {
      for (int i = 0; i + 1 < starts.length; i++) {
        pieces.add(
            new NDArray[] {
              like.getManager().create(row + starts[i]),
              like.getManager().create(row + starts[i + 1])
            });
      }
      row += starts[starts.length - 1];
    }
    return pieces;
  }

  private static NDArray cut(NDArray x, NDArray[] piece) {
    return PIECE.call(x, piece[0], piece[1]);
  }

  private static void store(NDArray x, NDArray y, NDArray[] piece) {
    STORE.call(x, y, piece[0], piece[1]);
  }
}
