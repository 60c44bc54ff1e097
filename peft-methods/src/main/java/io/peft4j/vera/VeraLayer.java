package io.peft4j.vera;

import ai.djl.ndarray.NDArray;
import io.peft4j.nn.LayerAdapter;
import io.peft4j.nn.LayerCall;
import io.peft4j.torch.Kernel;
import io.peft4j.torch.Ops;

/** VeRA at one layer: y + b ⊙ (B·(d ⊙ (A·dropout(x)))). */
final class VeraLayer implements LayerAdapter {
  // The first columns of A and rows of B are taken as views.
  private static final Kernel ADD =
      Kernel.of(
          "y: Tensor, x: Tensor, a: Tensor, b: Tensor, d: Tensor, l: Tensor -> Tensor",
          "i = torch.slice(a, 1, 0, torch.size(x, -1), 1)",
          "o = torch.slice(b, 0, 0, torch.size(l, 0), 1)",
          "h = torch.mul(torch.linear(x, i), d)",
          "return torch.add(y, torch.mul(torch.linear(h, o), l))");
  private static final Kernel DELTA =
      Kernel.of(
          "w: Tensor, a: Tensor, b: Tensor, d: Tensor, l: Tensor -> Tensor",
          "i = torch.slice(a, 1, 0, torch.size(w, 1), 1)",
          "o = torch.slice(b, 0, 0, torch.size(w, 0), 1)",
          "p = torch.mul(o, torch.unsqueeze(l, 1))",
          "return torch.addmm(w, p, torch.mul(i, torch.unsqueeze(d, 1)), beta=1, alpha=1)");

  private final Projection projection;
  private final NDArray d;
  private final NDArray b;
  private final double dropout;
  private final boolean transposed;

  /**
   * The effect at one layer.
   *
   * @param projection A and B
   * @param d float32 [rank]
   * @param b float32 [out]
   * @param dropout probability
   * @param transposed whether the layer stores W as [in, out]
   */
  VeraLayer(Projection projection, NDArray d, NDArray b, double dropout, boolean transposed) {
    this.projection = projection;
    this.d = d;
    this.b = b;
    this.dropout = dropout;
    this.transposed = transposed;
  }

  @Override
  public NDArray apply(LayerCall call, NDArray output) {
    NDArray x = Ops.dropout(call.input(), dropout, call.dropout());
    NDArray l = Ops.scale(b, call.strength());
    return ADD.call(output, x, projection.a(), projection.b(), d, l);
  }

  @Override
  public NDArray mergedWeight(NDArray weight, NDArray original, float strength) {
    NDArray l = Ops.scale(b, strength);
    NDArray straight = transposed ? weight.transpose() : weight;
    NDArray merged = DELTA.call(straight, projection.a(), projection.b(), d, l);
    return transposed ? merged.transpose() : merged;
  }

  @Override
  public String describe() {
    return "r=" + d.getShape().get(0);
  }
}
