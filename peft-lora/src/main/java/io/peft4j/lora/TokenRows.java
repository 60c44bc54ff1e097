package io.peft4j.lora;

import ai.djl.ndarray.NDArray;
import io.peft4j.nn.LayerAdapter;
import io.peft4j.nn.LayerCall;
import io.peft4j.torch.Kernel;
import io.peft4j.torch.Ops;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * Trained rows of an embedding [count, dimension], or of the output layer that is tied to it: row
 * indexes[i] of W is rows[i].
 */
final class TokenRows implements LayerAdapter {
  /** Replaces looked-up rows; the product with a one-hot row is that row, exactly. */
  private static final Kernel LOOK_UP =
      Kernel.of(
          "y: Tensor, ids: Tensor, indexes: Tensor, rows: Tensor -> Tensor",
          "hit = torch.eq(torch.unsqueeze(ids, -1), indexes)",
          "chosen = torch.matmul(torch.to(hit, 6), rows)",
          "return torch.where(torch.any(hit, -1, True), chosen, y)");

  private static final Kernel LOGITS =
      Kernel.of(
          "y: Tensor, x: Tensor, indexes: Tensor, rows: Tensor -> Tensor",
          "return torch.index_copy(y, -1, indexes, torch.linear(x, rows))");

  private static final Kernel WEIGHT =
      Kernel.of(
          "w: Tensor, indexes: Tensor, rows: Tensor -> Tensor",
          "return torch.index_copy(w, 0, indexes, rows)");

  private static final Kernel SELECT =
      Kernel.of("w: Tensor, indexes: Tensor -> Tensor", "return torch.index_select(w, 0, indexes)");

  private final List<Integer> tokens;
  private final NDArray indexes;
  private final NDArray rows;
  private final boolean output;

  /**
   * Trained rows at one layer.
   *
   * @param tokens the rows' numbers
   * @param indexes the same as int64 [n]
   * @param rows float32 [n, dimension]
   * @param output whether the layer is the output layer, not an embedding
   */
  TokenRows(List<Integer> tokens, NDArray indexes, NDArray rows, boolean output) {
    this.tokens = List.copyOf(tokens);
    this.indexes = indexes;
    this.rows = rows;
    this.output = output;
  }

  /** The rows of a weight at some indexes, as a new array. */
  static NDArray select(NDArray weight, NDArray indexes) {
    return SELECT.call(weight, indexes);
  }

  @Override
  public NDArray apply(LayerCall call, NDArray y) {
    NDArray wanted = rows;
    if (call.strength() != 1) {
      wanted = blend(call.weight().dense(), call.strength());
    }
    return output
        ? LOGITS.call(y, call.input(), indexes, wanted)
        : LOOK_UP.call(y, call.input(), indexes, wanted);
  }

  @Override
  public NDArray mergedWeight(NDArray weight, NDArray original, float strength) {
    return WEIGHT.call(weight, indexes, strength == 1 ? rows : blend(original, strength));
  }

  private NDArray blend(NDArray original, float strength) {
    NDArray own = select(original, indexes);
    return own.add(Ops.scale(rows.sub(own), strength));
  }

  /** PEFT refuses rows that two adapters train: each would put its own in the other's place. */
  @Override
  public @Nullable String conflict(LayerAdapter other) {
    if (!(other instanceof TokenRows rival)) {
      return null;
    }
    Set<Integer> shared = new TreeSet<>(tokens);
    shared.retainAll(rival.tokens);
    return shared.isEmpty()
        ? null
        : "both train the rows of the tokens " + shared + ", which only one of them can replace";
  }

  @Override
  public String describe() {
    return rows.getShape().get(0) + " trained rows";
  }
}
