package io.peft4j.lora;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.DataType;
import io.peft4j.torch.Kernel;

/** Matrix factorisations of the engine, which calls LAPACK, or on a CUDA device its counterpart. */
final class LinearAlgebra {
  private static final Kernel SVD =
      Kernel.of(
          "x: Tensor -> Tuple[Tensor, Tensor, Tensor]",
          "u, s, v, = torch.linalg_svd(x, False)",
          "return (u, s, v)");
  private static final Kernel QR =
      Kernel.of(
          "x: Tensor -> Tuple[Tensor, Tensor]", "q, r, = torch.linalg_qr(x)", "return (q, r)");

  private LinearAlgebra() {}

  /**
   * A singular value decomposition X = U·diag(s)·V, k = min(m, n).
   *
   * @param u [m, k], orthonormal columns
   * @param s [k], not negative, falling
   * @param v [k, n], orthonormal rows
   */
  record Svd(NDArray u, NDArray s, NDArray v) {

    /** The part that belongs to the largest singular values: {@code rank} of them if there are. */
    Svd head(long rank) {
      String rows = ":" + Math.min(rank, s.size());
      return new Svd(u.get(":, " + rows), s.get(rows), v.get(rows));
    }
  }

  /**
   * A QR decomposition X = Q·R, k = min(m, n).
   *
   * @param q [m, k], orthonormal columns
   * @param r [k, n], upper triangular
   */
  record Qr(NDArray q, NDArray r) {}

  /** All singular values and vectors of a matrix [m, n], in the type of x. */
  static Svd svd(NDArray x) {
    NDList parts = SVD.callMany(x);
    return new Svd(parts.get(0), parts.get(1), parts.get(2));
  }

  /** The reduced QR decomposition of a matrix [m, n], in the type of x. */
  static Qr qr(NDArray x) {
    NDList parts = QR.callMany(x);
    return new Qr(parts.get(0), parts.get(1));
  }

  /** A float64 copy, or x itself if it is float64. */
  static NDArray wide(NDArray x) {
    return x.toType(DataType.FLOAT64, false);
  }

  /** A float32 copy whose values lie in order. */
  static NDArray narrow(NDArray x) {
    return x.toType(DataType.FLOAT32, true).flatten().reshape(x.getShape());
  }
}
