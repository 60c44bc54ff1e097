package io.peft4j.torch;

import ai.djl.ndarray.NDArray;

/** The function between the two layers of a feed-forward network. */
public enum Activation {
  /** x / (1 + exp(-x)). */
  SILU("torch.silu(%s)", "torch.silu_backward(%s, %s)"),
  /** x·Φ(x), with Φ computed by the error function. */
  GELU("torch.gelu(%s)", "torch.gelu_backward(%s, %s)"),
  /** x·Φ(x), with Φ approximated by a hyperbolic tangent. */
  GELU_TANH(
      "torch.gelu(%s, approximate=\"tanh\")", "torch.gelu_backward(%s, %s, approximate=\"tanh\")"),
  /** The positive part of x. */
  RELU("torch.relu(%s)", "torch.threshold_backward(%s, %s, 0)");

  private final String expression;
  private final String gradient;
  private final Kernel plain;
  private final Kernel gated;

  Activation(String expression, String gradient) {
    this.expression = expression;
    this.gradient = gradient;
    plain = Kernel.of("x: Tensor -> Tensor", "return " + of("x"));
    gated = Kernel.of("x: Tensor, y: Tensor -> Tensor", "return torch.mul(" + of("x") + ", y)");
  }

  /**
   * The function as an expression of a kernel.
   *
   * @param x a variable, any shape
   * @return an expression of the same shape
   */
  public String of(String x) {
    return String.format(expression, x);
  }

  /**
   * The gradient of x as an expression of a kernel.
   *
   * @param above a variable, the gradient of the function's value
   * @param x a variable, of the same shape
   * @return an expression of the same shape
   */
  public String gradient(String above, String x) {
    return String.format(gradient, above, x);
  }

  /**
   * The function of x.
   *
   * @param x float32, any shape
   * @return the same shape
   */
  public NDArray apply(NDArray x) {
    return plain.call(x);
  }

  /**
   * The function of x, times y.
   *
   * @param x float32, any shape
   * @param y the same shape
   * @return the same shape
   */
  public NDArray gated(NDArray x, NDArray y) {
    return gated.call(x, y);
  }
}
