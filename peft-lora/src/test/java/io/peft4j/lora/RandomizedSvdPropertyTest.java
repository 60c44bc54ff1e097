package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;

/** The parts of a randomized decomposition for random shapes and ranks. */
class RandomizedSvdPropertyTest {

  @Property(tries = 40)
  void decomposesAMatrixOfNoMoreThanThatRank(
      @ForAll @IntRange(min = 1, max = 40) int rows,
      @ForAll @IntRange(min = 1, max = 40) int columns,
      @ForAll @IntRange(min = 1, max = 12) int wanted,
      @ForAll @IntRange(min = 0, max = 12) int inner,
      @ForAll @IntRange(min = 0, max = 3) int iterations) {
    int rank = Math.min(wanted, Math.min(rows, columns));
    try (NDManager manager = NDManager.newBaseManager(null, "PyTorch")) {
      int terms = Math.min(inner, rank);
      NDArray matrix = manager.zeros(new Shape(rows, columns), DataType.FLOAT64);
      if (terms > 0) {
        matrix = normal(manager, rows, terms).matMul(normal(manager, terms, columns));
      }
      LinearAlgebra.Svd svd = RandomizedSvd.decompose(matrix, rank, iterations);
      assertEquals(new Shape(rows, rank), svd.u().getShape());
      assertEquals(new Shape(rank, columns), svd.v().getShape());
      NDArray product = svd.u().mul(svd.s()).matMul(svd.v());
      double size = Math.max(1, GoldenLlama.maxMagnitude(matrix));
      assertEquals(0, GoldenLlama.maxDifference(matrix, product), 1e-10 * size);
      double[] exact = LinearAlgebra.svd(matrix).s().toDoubleArray();
      double[] found = svd.s().toDoubleArray();
      for (int i = 0; i < rank; i++) {
        assertEquals(exact[i], found[i], 1e-10 * Math.max(1, exact[0]));
        assertTrue(i == 0 || found[i] <= found[i - 1], "values must fall");
      }
      if (terms == rank) {
        NDArray unit = manager.eye(rank).toType(DataType.FLOAT64, false);
        assertEquals(
            0, GoldenLlama.maxDifference(unit, svd.u().transpose().matMul(svd.u())), 1e-10);
        assertEquals(
            0, GoldenLlama.maxDifference(unit, svd.v().matMul(svd.v().transpose())), 1e-10);
      }
    }
  }

  private static NDArray normal(NDManager manager, int rows, int columns) {
    return manager.randomNormal(0, 1, new Shape(rows, columns), DataType.FLOAT64);
  }
}
