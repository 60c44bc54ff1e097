package io.peft4j.torch;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Operators that layers share. All take and give float32 unless they say otherwise, and attach
 * their result to the manager of their first argument.
 */
public final class Ops {
  private static final Kernel ADD_PRODUCT =
      Kernel.of(
          "y: Tensor, x: Tensor, a: Tensor, b: Tensor, s: Tensor -> Tensor",
          "return torch.add(y, torch.linear(torch.mul(torch.linear(x, a), s), b))");
  private static final Kernel TO_BFLOAT16 =
      Kernel.of("x: Tensor -> Tensor", "return torch.to(x, 15)");
  private static final Kernel TO_FLOAT16 =
      Kernel.of("x: Tensor -> Tensor", "return torch.to(x, 5)");
  private static final Kernel LINEAR_BFLOAT16 =
      Kernel.of(
          "x: Tensor, w: Tensor -> Tensor",
          "return torch.to(torch.linear(torch.to(x, 15), torch.to(w, 15)), 6)");
  private static final Kernel LINEAR_BIAS_BFLOAT16 =
      Kernel.of(
          "x: Tensor, w: Tensor, b: Tensor -> Tensor",
          "return torch.to(torch.linear(torch.to(x, 15), torch.to(w, 15), torch.to(b, 15)), 6)");
  private static final Kernel LINEAR_TRANSPOSED_BFLOAT16 =
      Kernel.of(
          "x: Tensor, w: Tensor -> Tensor",
          "return torch.to(torch.linear(torch.to(x, 15), torch.t(torch.to(w, 15))), 6)");
  private static final Kernel LINEAR_TRANSPOSED_BIAS_BFLOAT16 =
      Kernel.of(
          "x: Tensor, w: Tensor, b: Tensor -> Tensor",
          "z = torch.linear(torch.to(x, 15), torch.t(torch.to(w, 15)), torch.to(b, 15))",
          "return torch.to(z, 6)");
  private static final Kernel TO_FLOAT32 =
      Kernel.of("x: Tensor -> Tensor", "return torch.to(x, 6)");
  private static final Kernel LINEAR_WIDENED =
      Kernel.of("x: Tensor, w: Tensor -> Tensor", "return torch.linear(x, torch.to(w, 6))");
  private static final Kernel LINEAR_BIAS_WIDENED =
      Kernel.of(
          "x: Tensor, w: Tensor, b: Tensor -> Tensor", "return torch.linear(x, torch.to(w, 6), b)");
  private static final Kernel ROWS_WIDENED =
      Kernel.of("w: Tensor, i: Tensor -> Tensor", "return torch.to(torch.embedding(w, i), 6)");
  private static final Kernel ALL_FINITE =
      Kernel.of("x: Tensor -> Tensor", "return torch.all(torch.isfinite(x))");
  private static final Kernel SUM = Kernel.of("x: Tensor -> Tensor", "return torch.sum(x)");
  private static final Kernel GELU_TANH =
      Kernel.of("x: Tensor -> Tensor", "return torch.gelu(x, approximate=\"tanh\")");
  private static final Map<Norm, Kernel> RMS_NORM = new ConcurrentHashMap<>();
  private static final Map<Double, Kernel> SOFTCAP = new ConcurrentHashMap<>();

  private record Norm(double epsilon, boolean shifted) {}

  private Ops() {}

  /**
   * x·Wᵀ + b.
   *
   * @param x [..., in]
   * @param weight [out, in]
   * @param bias [out], or null for none
   * @return [..., out]
   */
  public static NDArray linear(NDArray x, NDArray weight, @Nullable NDArray bias) {
    return JniUtils.linear((PtNDArray) x, (PtNDArray) weight, (PtNDArray) bias);
  }

  /**
   * x·Wᵀ + b with x, W and b rounded to bfloat16.
   *
   * @param x [..., in]
   * @param weight [out, in] of any floating-point type; bfloat16 is taken as it is
   * @param bias float32 [out], or null for none
   * @return float32 [..., out]
   */
  public static NDArray linearBfloat16(NDArray x, NDArray weight, @Nullable NDArray bias) {
    return bias == null
        ? LINEAR_BFLOAT16.call(x, weight)
        : LINEAR_BIAS_BFLOAT16.call(x, weight, bias);
  }

  /**
   * x·W + b with x, W and b rounded to bfloat16.
   *
   * @param x [..., in]
   * @param weight [in, out] of any floating-point type; bfloat16 is taken as it is
   * @param bias float32 [out], or null for none
   * @return float32 [..., out]
   */
  public static NDArray linearTransposedBfloat16(
      NDArray x, NDArray weight, @Nullable NDArray bias) {
    return bias == null
        ? LINEAR_TRANSPOSED_BFLOAT16.call(x, weight)
        : LINEAR_TRANSPOSED_BIAS_BFLOAT16.call(x, weight, bias);
  }

  /**
   * Rounds to bfloat16.
   *
   * @param x any shape
   * @return bfloat16 array of the same shape: for kernels alone, the engine's own interface aborts
   *     the process if it meets one
   */
  public static NDArray toBfloat16(NDArray x) {
    return TO_BFLOAT16.call(x);
  }

  /**
   * Rounds to float16.
   *
   * @param x any shape
   * @return float16 array of the same shape
   */
  public static NDArray toFloat16(NDArray x) {
    return TO_FLOAT16.call(x);
  }

  /**
   * Widens to float32.
   *
   * @param x array of any floating-point type, bfloat16 included
   * @return float32 array of the same shape; a view of x if it is float32 already
   */
  public static NDArray toFloat32(NDArray x) {
    return TO_FLOAT32.call(x);
  }

  /**
   * x·Wᵀ + b in float32 for a weight of 16 bits, which is widened for the length of the call.
   *
   * @param x float32 [..., in]
   * @param weight float16 or bfloat16 [out, in]
   * @param bias float32 [out], or null for none
   * @return float32 [..., out]
   */
  public static NDArray linearWidened(NDArray x, NDArray weight, @Nullable NDArray bias) {
    return bias == null
        ? LINEAR_WIDENED.call(x, weight)
        : LINEAR_BIAS_WIDENED.call(x, weight, bias);
  }

  /**
   * Rows of a weight of 16 bits, by index.
   *
   * @param weight float16 or bfloat16 [rows, dimension]
   * @param ids int64 indexes of any shape
   * @return float32 [ids..., dimension]
   */
  public static NDArray rowsWidened(NDArray weight, NDArray ids) {
    NDArray rows = ROWS_WIDENED.call(weight, ids);
    rows.attach(ids.getManager());
    return rows;
  }

  /**
   * y + s·(x·Aᵀ)·Bᵀ: the step of every low-rank adapter, in one call.
   *
   * @param y [..., out]
   * @param x [..., in]
   * @param a [rank, in]
   * @param b [out, rank]
   * @param scaling scalar
   * @return [..., out]
   */
  public static NDArray addLowRank(NDArray y, NDArray x, NDArray a, NDArray b, NDArray scaling) {
    return ADD_PRODUCT.call(y, x, a, b, scaling);
  }

  /**
   * x / sqrt(mean(x²) + epsilon) · weight, over the last dimension.
   *
   * @param x [..., size]
   * @param weight [size]
   * @param epsilon added to the mean square
   * @param shifted whether the factor is 1 + weight instead of the weight
   * @return [..., size]
   */
  public static NDArray rmsNorm(NDArray x, NDArray weight, double epsilon, boolean shifted) {
    return RMS_NORM
        .computeIfAbsent(
            new Norm(epsilon, shifted),
            norm ->
                Kernel.of(
                    "x: Tensor, w: Tensor -> Tensor",
                    "return " + rmsNorm("x", "w", epsilon, shifted)))
        .call(x, weight);
  }

  /**
   * What {@link #rmsNorm(NDArray, NDArray, double, boolean)} computes, as an expression of a larger
   * kernel.
   *
   * @param x a variable, [..., size]
   * @param weight a variable, [size]
   * @param epsilon added to the mean square
   * @param shifted whether the factor is 1 + weight instead of the weight
   * @return the expression
   */
  public static String rmsNorm(String x, String weight, double epsilon, boolean shifted) {
    String mean = "torch.mean(torch.pow(" + x + ", 2), [-1], True)";
    return "torch.mul("
        + (shifted ? "torch.add(" + weight + ", 1)" : weight)
        + ", torch.mul("
        + x
        + ", torch.rsqrt(torch.add("
        + mean
        + ", "
        + epsilon
        + "))))";
  }

  /**
   * c·tanh(x / c): x where it is small, and never beyond c.
   *
   * @param x any shape
   * @param bound the bound c, above 0
   * @return the same shape
   */
  public static NDArray softcap(NDArray x, double bound) {
    return SOFTCAP
        .computeIfAbsent(
            bound,
            c ->
                Kernel.of(
                    "x: Tensor -> Tensor",
                    "return torch.mul(torch.tanh(torch.div(x, " + c + ")), " + c + ")"))
        .call(x);
  }

  /**
   * x·Φ(x), with Φ computed by the error function.
   *
   * @param x any shape
   * @return the same shape
   */
  public static NDArray gelu(NDArray x) {
    return JniUtils.gelu((PtNDArray) x);
  }

  /**
   * x·Φ(x), with Φ approximated by a hyperbolic tangent.
   *
   * @param x any shape
   * @return the same shape
   */
  public static NDArray geluTanh(NDArray x) {
    return GELU_TANH.call(x);
  }

  /**
   * The same values in memory of the engine's own. An array made from Java values is a view of a
   * Java buffer that goes when the array is closed, while a backward pass may still need the
   * tensor.
   *
   * @param array an array made by {@code manager.create}; closed
   * @return the values, attached to the same manager
   */
  public static NDArray engineOwned(NDArray array) {
    try (array) {
      return array.duplicate();
    }
  }

  /**
   * Multiplies by a number in a way that a backward pass can rely on: the number lies in memory of
   * the engine's own.
   *
   * @param x any shape
   * @param factor the number
   * @return x times the number; x itself for 1
   */
  public static NDArray scale(NDArray x, float factor) {
    if (factor == 1) {
      return x;
    }
    return x.mul(x.getManager().full(new Shape(), factor, DataType.FLOAT32));
  }

  /**
   * Tells whether an array holds neither NaN nor infinity.
   *
   * @param x any shape
   * @return true if all values are finite
   */
  public static boolean allFinite(NDArray x) {
    // A sum is one pass without temporaries, and finite only if all its parts are. Where it is not,
    // the parts may be and have merely overflowed.
    try (NDArray sum = SUM.call(x)) {
      if (Float.isFinite(sum.getFloat())) {
        return true;
      }
    }
    try (NDArray finite = ALL_FINITE.call(x)) {
      return finite.getBoolean();
    }
  }

  /**
   * Drops values with a probability and scales up the rest.
   *
   * @param x any shape
   * @param probability in [0, 1)
   * @param active whether to drop at all
   * @return x itself where nothing is dropped
   */
  public static NDArray dropout(NDArray x, double probability, boolean active) {
    return active && probability > 0 ? Dropout.apply(x, probability) : x;
  }
}
