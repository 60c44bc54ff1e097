package io.peft4j.adapter;

import io.peft4j.torch.Activation;
import io.peft4j.torch.Kernel;

/** The function between an adapter's two projections, {@code non_linearity} in files. */
public enum NonLinearity {
  /** The positive part. */
  RELU("relu", Activation.RELU.of("d")),
  /** x·Φ(x), by the error function. */
  GELU("gelu", Activation.GELU.of("d")),
  /** x·Φ(x), with Φ approximated by a hyperbolic tangent. */
  GELU_NEW("gelu_new", Activation.GELU_TANH.of("d")),
  /** x / (1 + exp(-x)). */
  SILU("silu", Activation.SILU.of("d")),
  /** The same as {@link #SILU}, by the name that AdapterHub's presets give it. */
  SWISH("swish", Activation.SILU.of("d")),
  /** The hyperbolic tangent. */
  TANH("tanh", "torch.tanh(d)"),
  /** x, or x / 100 where it is negative. */
  LEAKY_RELU("leaky_relu", "torch.leaky_relu(d, 0.01)"),
  /** The same as {@link #LEAKY_RELU}, by AdapterHub's own name. */
  LEAKYRELU("leakyrelu", "torch.leaky_relu(d, 0.01)");

  private final String key;
  private final Kernel bottleneck;

  NonLinearity(String key, String expression) {
    this.key = key;
    bottleneck =
        Kernel.of(
            "x: Tensor, dw: Tensor, db: Tensor, uw: Tensor, ub: Tensor -> Tensor",
            "d = torch.linear(x, dw, db)",
            "return torch.linear(" + expression + ", uw, ub)");
  }

  /**
   * The name in files.
   *
   * @return for example {@code gelu_new}
   */
  public String key() {
    return key;
  }

  /** Both projections with the function between: x, down weight and bias, up weight and bias. */
  Kernel bottleneck() {
    return bottleneck;
  }
}
