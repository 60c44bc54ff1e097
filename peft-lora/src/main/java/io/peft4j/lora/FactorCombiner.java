package io.peft4j.lora;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDArrays;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.Shape;
import io.peft4j.lora.LoraCombination.Type;
import java.util.List;
import java.util.function.ToDoubleFunction;

/**
 * Combines what several adapters bring to one layer into one A and B of a given rank, whose scaling
 * is 1. Results of a smaller rank are filled with zeros.
 */
final class FactorCombiner {
  private final LoraCombination how;
  private final Type type;
  private final TaskArithmetic arithmetic;

  FactorCombiner(LoraCombination how) {
    this.how = how;
    boolean alone = how.parts().size() == 1;
    type = alone && !how.type().isExact() ? Type.LINEAR : how.type();
    arithmetic = new TaskArithmetic(how);
  }

  /** The rule that is really followed. */
  Type type() {
    return type;
  }

  /**
   * The rank of the new adapter.
   *
   * @param ranks those of the adapters
   */
  int rank(List<Integer> ranks) {
    int largest = ranks.stream().mapToInt(Integer::intValue).max().orElseThrow();
    if (type == Type.CAT) {
      return ranks.stream().mapToInt(Integer::intValue).sum();
    }
    return type.isOnDelta() ? how.svdRank().orElse(largest) : largest;
  }

  /**
   * Combines one layer.
   *
   * @param terms of the adapters that adapt it, at least one
   * @param rank rank of the result
   * @param flipped whether PEFT sees the change of this layer as [in, out], which decides in what
   *     order random numbers are used
   * @return A [rank, in] and B [out, rank]
   */
  Factors combine(List<WeightedFactors> terms, int rank, boolean flipped) {
    Factors combined =
        switch (type) {
          case CAT -> concatenated(terms);
          case SVD -> sum(terms, rank);
          case LINEAR, TIES, DARE_LINEAR, DARE_TIES, MAGNITUDE_PRUNE -> apart(terms);
          case TIES_SVD -> decomposed(Type.TIES, terms, rank, flipped);
          case DARE_LINEAR_SVD -> decomposed(Type.DARE_LINEAR, terms, rank, flipped);
          case DARE_TIES_SVD -> decomposed(Type.DARE_TIES, terms, rank, flipped);
          case MAGNITUDE_PRUNE_SVD -> decomposed(Type.MAGNITUDE_PRUNE, terms, rank, flipped);
        };
    return new Factors(
        LinearAlgebra.narrow(fill(combined.a(), 0, rank)),
        LinearAlgebra.narrow(fill(combined.b(), 1, rank)));
  }

  private static Factors concatenated(List<WeightedFactors> terms) {
    NDList a = new NDList(terms.size());
    NDList b = new NDList(terms.size());
    for (WeightedFactors term : terms) {
      // Two products, as PEFT rounds them.
      a.add(term.a().mul((float) term.weight()).mul((float) term.scaling()));
      b.add(term.b());
    }
    return new Factors(NDArrays.concat(a, 0), NDArrays.concat(b, 1));
  }

  /**
   * Σ w·s·B·A as the product of two long thin matrices, decomposed through their QR decompositions:
   * the large matrix itself is never made.
   */
  private static Factors sum(List<WeightedFactors> terms, int rank) {
    NDList a = new NDList(terms.size());
    NDList b = new NDList(terms.size());
    for (WeightedFactors term : terms) {
      a.add(LinearAlgebra.wide(term.a()).mul(term.strength()));
      b.add(LinearAlgebra.wide(term.b()));
    }
    LinearAlgebra.Qr left = LinearAlgebra.qr(NDArrays.concat(b, 1));
    LinearAlgebra.Qr right = LinearAlgebra.qr(NDArrays.concat(a, 0).transpose());
    LinearAlgebra.Svd core = LinearAlgebra.svd(left.r().matMul(right.r().transpose())).head(rank);
    return new Factors(
        core.v().matMul(right.q().transpose()), left.q().matMul(core.u().mul(core.s())));
  }

  private Factors apart(List<WeightedFactors> terms) {
    // The sign goes to one side only, else it would cancel.
    NDArray a =
        arithmetic.combine(
            type,
            terms.stream().map(WeightedFactors::a).toList(),
            weights(terms, t -> Math.copySign(Math.sqrt(Math.abs(t.strength())), t.strength())));
    NDArray b =
        arithmetic.combine(
            type,
            terms.stream().map(WeightedFactors::b).toList(),
            weights(terms, t -> Math.sqrt(Math.abs(t.strength()))));
    return new Factors(a, b);
  }

  private Factors decomposed(Type rule, List<WeightedFactors> terms, int rank, boolean flipped) {
    List<NDArray> deltas =
        terms.stream()
            .map(WeightedFactors::delta)
            .map(delta -> flipped ? LinearAlgebra.narrow(delta.transpose()) : delta)
            .toList();
    NDArray combined = arithmetic.combine(rule, deltas, weights(terms, WeightedFactors::weight));
    NDArray delta = LinearAlgebra.wide(flipped ? combined.transpose() : combined);
    LinearAlgebra.Svd svd = LinearAlgebra.svd(delta).head(rank);
    return new Factors(svd.v(), svd.u().mul(svd.s()));
  }

  private static float[] weights(
      List<WeightedFactors> terms, ToDoubleFunction<WeightedFactors> weight) {
    float[] weights = new float[terms.size()];
    for (int i = 0; i < weights.length; i++) {
      weights[i] = (float) weight.applyAsDouble(terms.get(i));
    }
    return weights;
  }

  private static NDArray fill(NDArray matrix, int axis, long rank) {
    long missing = rank - matrix.getShape().get(axis);
    if (missing == 0) {
      return matrix;
    }
    long[] shape = matrix.getShape().getShape().clone();
    shape[axis] = missing;
    NDArray zeros = matrix.getManager().zeros(new Shape(shape), matrix.getDataType());
    return matrix.concat(zeros, axis);
  }
}
