package io.peft4j.lora;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import java.util.Arrays;
import org.apache.commons.math3.linear.Array2DRowRealMatrix;
import org.apache.commons.math3.linear.RealMatrix;
import org.apache.commons.math3.linear.SingularValueDecomposition;

/**
 * The largest singular values of a matrix and their vectors, approximately: algorithms 4.4 and 5.1
 * of Halko, Martinsson and Tropp, "Finding structure with randomness" (2011), without oversampling,
 * as PEFT's {@code pissa_niter_N} asks {@code torch.svd_lowrank} for.
 *
 * <p>A random subspace of the wanted size is multiplied by the matrix and its transpose in turn and
 * made orthonormal after each product; the matrix is then decomposed within that subspace. All is
 * float64. The products with the large matrix are the engine's, the decomposition of the small one
 * Commons Math's.
 */
final class RandomizedSvd {
  /** A column that keeps less of its length than this is rounding. */
  private static final double DEPENDENT = 1e-12;

  private RandomizedSvd() {}

  /**
   * Decomposes a matrix.
   *
   * @param matrix [m, n]
   * @param rank number of singular values, at most min(m, n)
   * @param iterations how often the subspace is multiplied by matrix and transpose; more are closer
   * @return U [m, rank], s [rank] and V [rank, n], float64
   */
  static LinearAlgebra.Svd decompose(NDArray matrix, int rank, int iterations) {
    NDArray wide = LinearAlgebra.wide(matrix);
    if (wide.getShape().get(0) < wide.getShape().get(1)) {
      LinearAlgebra.Svd flipped = tall(wide.transpose(), rank, iterations);
      return new LinearAlgebra.Svd(flipped.v().transpose(), flipped.s(), flipped.u().transpose());
    }
    return tall(wide, rank, iterations);
  }

  private static LinearAlgebra.Svd tall(NDArray x, int rank, int iterations) {
    NDManager manager = x.getManager();
    NDArray start =
        manager.randomNormal(
            0, 1, new Shape(x.getShape().get(1), rank), DataType.FLOAT64, manager.getDevice());
    NDArray transposed = x.transpose();
    NDArray basis = orthonormal(x.matMul(start));
    for (int i = 0; i < iterations; i++) {
      basis = orthonormal(transposed.matMul(basis));
      basis = orthonormal(x.matMul(basis));
    }
    // Within the subspace X is Q·Yᵀ with Y = Xᵀ·Q = P·T, so only the small T is left to decompose.
    NDArray within = transposed.matMul(basis);
    NDArray other = orthonormal(within);
    SingularValueDecomposition core =
        new SingularValueDecomposition(real(within.transpose().matMul(other)));
    NDArray u = basis.matMul(array(manager, core.getU()));
    NDArray v = array(manager, core.getVT()).matMul(other.transpose());
    return new LinearAlgebra.Svd(u, manager.create(core.getSingularValues()), v);
  }

  /**
   * An orthonormal basis of what the columns of a thin matrix span, by Gram and Schmidt's method,
   * each column twice for accuracy. What depends on the columns before it becomes zero.
   */
  private static NDArray orthonormal(NDArray thin) {
    double[][] columns = real(thin).transpose().getData();
    for (int i = 0; i < columns.length; i++) {
      double[] column = columns[i];
      double before = norm(column);
      for (int pass = 0; pass < 2; pass++) {
        for (int j = 0; j < i; j++) {
          add(column, columns[j], -dot(column, columns[j]));
        }
      }
      double after = norm(column);
      double factor = after > DEPENDENT * before ? 1 / after : 0;
      for (int k = 0; k < column.length; k++) {
        column[k] *= factor;
      }
    }
    return array(thin.getManager(), new Array2DRowRealMatrix(columns, false).transpose());
  }

  private static double dot(double[] x, double[] y) {
    double sum = 0;
    for (int k = 0; k < x.length; k++) {
      sum += x[k] * y[k];
    }
    return sum;
  }

  private static double norm(double[] x) {
    return Math.sqrt(dot(x, x));
  }

  private static void add(double[] x, double[] y, double factor) {
    for (int k = 0; k < x.length; k++) {
      x[k] += factor * y[k];
    }
  }

  private static RealMatrix real(NDArray matrix) {
    int rows = Math.toIntExact(matrix.getShape().get(0));
    int columns = Math.toIntExact(matrix.getShape().get(1));
    double[] values = matrix.toDoubleArray();
    double[][] data = new double[rows][];
    for (int row = 0; row < rows; row++) {
      data[row] = Arrays.copyOfRange(values, row * columns, (row + 1) * columns);
    }
    return new Array2DRowRealMatrix(data, false);
  }

  private static NDArray array(NDManager manager, RealMatrix matrix) {
    int columns = matrix.getColumnDimension();
    double[] values = new double[matrix.getRowDimension() * columns];
    for (int row = 0; row < matrix.getRowDimension(); row++) {
      System.arraycopy(matrix.getRow(row), 0, values, row * columns, columns);
    }
    return manager.create(values, new Shape(matrix.getRowDimension(), columns));
  }
}
