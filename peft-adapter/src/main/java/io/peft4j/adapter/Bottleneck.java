package io.peft4j.adapter;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.nn.JoinAdapter;
import io.peft4j.nn.JoinCall;
import io.peft4j.torch.Kernel;
import io.peft4j.torch.Ops;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * An adapter at one join, after AdapterHub's {@code Adapter} and {@code ParallelAdapter}. With the
 * sub-layer's output h, the residual x, the model's own norm N, and
 *
 * <pre>A(z) = dropout(s · (W_up · f(W_down · z + b_down) + b_up))</pre>
 *
 * a sequential adapter makes of h the sum A(z) + r, where z is h, or N(h + x) with {@code
 * original_ln_before}, and r is h, z or h + x as {@link AdapterResidual} says. A parallel one makes
 * h + A(x). At the end comes N(· + x), or nothing without {@code original_ln_after}. Norms of the
 * adapter's own go before W_down ({@code ln_before}) and round A or A + r ({@code ln_after}); a
 * gate multiplies A by the mean over the tokens of σ(g · z). A strength multiplies what is added to
 * r.
 */
final class Bottleneck implements JoinAdapter {
  private static final Kernel NORM =
      Kernel.of(
          "x: Tensor, w: Tensor, b: Tensor -> Tensor",
          "return torch.layer_norm(x, [torch.size(x, -1)], w, b)");
  private static final Kernel GATE =
      Kernel.of(
          "y: Tensor, x: Tensor, w: Tensor, b: Tensor -> Tensor",
          "g = torch.mean(torch.sigmoid(torch.linear(x, w, b)), [1], True)",
          "return torch.mul(y, g)");

  private final AdapterConfig config;
  private final Tensors tensors;

  Bottleneck(AdapterConfig config, Tensors tensors) {
    this.config = config;
    this.tensors = tensors;
  }

  /**
   * A linear layer, or a norm.
   *
   * @param weight its weight
   * @param bias its bias
   */
  record Pair(NDArray weight, NDArray bias) {}

  /**
   * What an adapter has at one join.
   *
   * @param down [middle, hidden] and [middle]
   * @param up [hidden, middle] and [hidden]
   * @param before the norm before the down projection, if there is one
   * @param after the norm after the up projection, if there is one
   * @param gate [1, hidden] and [1], if there is one
   * @param scaling [1] or [hidden], if it is learned
   */
  record Tensors(
      Pair down,
      Pair up,
      @Nullable Pair before,
      @Nullable Pair after,
      @Nullable Pair gate,
      @Nullable NDArray scaling) {}

  @Override
  public NDArray act(JoinCall call) {
    NDArray h = call.output();
    if (config.parallel()) {
      return h.add(normalised(term(call, call.residual()), call.strength()));
    }
    boolean summed = config.originalNormBefore() || config.residual() == AdapterResidual.SUM;
    NDArray sum = summed ? h.add(call.residual()) : h;
    NDArray z = config.originalNormBefore() ? call.norm().apply(sum) : h;
    NDArray around =
        switch (config.residual()) {
          case OUTPUT -> h;
          case INPUT -> z;
          case SUM -> sum;
        };
    NDArray term = term(call, z);
    if (config.residualBeforeNormAfter()) {
      return norm(Ops.scale(term, call.strength()).add(around), tensors.after);
    }
    return normalised(term, call.strength()).add(around);
  }

  private NDArray normalised(NDArray term, float strength) {
    return Ops.scale(norm(term, tensors.after), strength);
  }

  private NDArray term(JoinCall call, NDArray z) {
    NDArray up =
        config
            .nonLinearity()
            .bottleneck()
            .call(
                norm(z, tensors.before),
                tensors.down.weight,
                tensors.down.bias,
                tensors.up.weight,
                tensors.up.bias);
    if (!config.parallel()) {
      up = dropRows(up, call.dropout());
    }
    NDArray learned = tensors.scaling;
    NDArray scaled =
        learned == null ? Ops.scale(up, (float) config.scaling().factor()) : up.mul(learned);
    NDArray term = Ops.dropout(scaled, config.dropout(), call.dropout());
    Pair gate = tensors.gate;
    return gate == null ? term : GATE.call(term, z, gate.weight, gate.bias);
  }

  /** Stochastic depth: whole rows lose what the adapter adds, the others have it scaled up. */
  private NDArray dropRows(NDArray up, boolean active) {
    if (!active || config.stochasticDepth() == 0) {
      return up;
    }
    long[] shape = new long[up.getShape().dimension()];
    Arrays.fill(shape, 1);
    shape[0] = up.getShape().get(0);
    NDArray ones = up.getManager().ones(new Shape(shape), DataType.FLOAT32);
    return up.mul(Ops.dropout(ones, config.stochasticDepth(), true));
  }

  private static NDArray norm(NDArray x, @Nullable Pair norm) {
    return norm == null ? x : NORM.call(x, norm.weight, norm.bias);
  }

  @Override
  public NDArray finish(JoinCall call) {
    return config.originalNormAfter() ? JoinAdapter.super.finish(call) : call.output();
  }

  @Override
  public String describe() {
    return (config.parallel() ? "parallel" : "sequential")
        + " m="
        + tensors.down.bias.getShape().get(0)
        + " "
        + config.nonLinearity().key();
  }
}
