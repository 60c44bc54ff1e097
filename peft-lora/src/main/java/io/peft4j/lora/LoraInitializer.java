package io.peft4j.lora;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.InvalidConfigException;
import io.peft4j.lora.LoraInitialization.Kind;
import io.peft4j.nn.Weight;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import java.util.Arrays;

/**
 * What A and B begin with, after PEFT 0.21's {@code tuners/lora/layer.py}.
 *
 * <p>Random numbers are those of the engine's generator. Nothing here writes to the base: for PiSSA
 * and OLoRA the caller keeps copies A₀, B₀ of the result and lets s·(B·A − B₀·A₀) act.
 */
final class LoraInitializer {
  private LoraInitializer() {}

  /**
   * Makes the factors of one layer.
   *
   * <p>Embeddings know two rules only, as in PEFT: {@link Kind#RANDOM}, and for all others A = 0
   * and B from the standard normal distribution.
   *
   * @param init the rule
   * @param layer the layer; a convolution of one group
   * @param weight the layer's weight as stored; read by PiSSA and OLoRA alone
   * @param rank rank of the product
   * @param scaling s
   * @param manager owns the result
   * @return A [rank, in] and B [out, rank] float32; A [rank, count] and B [dimension, rank] for an
   *     embedding; A [rank, in, kernel...] and B [out, rank, 1...] for a convolution
   * @throws InvalidConfigException if the rule does not fit the layer or the rank
   */
  static Factors initialize(
      LoraInitialization init,
      LayerSpec layer,
      Weight weight,
      int rank,
      double scaling,
      NDManager manager) {
    Shape shapeA = FactorShapes.a(layer, rank);
    Shape shapeB = FactorShapes.b(layer, rank);
    if (layer.kind() == LayerKind.EMBEDDING) {
      NDArray a = init.kind() == Kind.RANDOM ? normal(manager, 1, shapeA) : manager.zeros(shapeA);
      return new Factors(a, normal(manager, 1, shapeB));
    }
    return switch (init.kind()) {
      case DEFAULT -> new Factors(kaiming(manager, shapeA), manager.zeros(shapeB));
      case GAUSSIAN -> new Factors(normal(manager, 1.0 / rank, shapeA), manager.zeros(shapeB));
      case RANDOM -> new Factors(kaiming(manager, shapeA), kaiming(manager, shapeB));
      default -> {
        checkLinear(init, layer);
        try (NDScope scope = new NDScope()) {
          scope.suppressNotUsedWarning();
          yield keep(decomposed(init, layer, weight, rank, scaling, manager), manager);
        }
      }
    };
  }

  /**
   * Makes the bias of B.
   *
   * @param init the rule, {@link Kind#DEFAULT} or {@link Kind#RANDOM}
   * @param out output features
   * @param rank rank of the product
   * @param manager owns the result
   * @return float32 [out]: zeros, or uniform in ±1/√rank as a linear layer after a rank-wide one
   *     has
   */
  static NDArray bias(LoraInitialization init, long out, int rank, NDManager manager) {
    Shape shape = new Shape(out);
    return init.kind() == Kind.RANDOM
        ? uniform(manager, 1 / Math.sqrt(rank), shape)
        : manager.zeros(shape);
  }

  private static Factors decomposed(
      LoraInitialization init,
      LayerSpec layer,
      Weight weight,
      int rank,
      double scaling,
      NDManager manager) {
    if (init.kind() == Kind.ORTHOGONAL) {
      return orthogonal(layer, rank, manager);
    }
    long largest = Math.min(layer.inFeatures(), layer.outFeatures());
    if (rank > largest) {
      throw new InvalidConfigException(
          "init_lora_weights "
              + init.toJson()
              + " takes at most min(in, out) = "
              + largest
              + " directions of "
              + layer.path()
              + ", but the rank is "
              + rank);
    }
    NDArray stored = weight.dense();
    NDArray w = layer.kind() == LayerKind.LINEAR_TRANSPOSED ? stored.transpose() : stored;
    return init.kind() == Kind.PISSA ? pissa(w, rank, scaling, init.iterations()) : olora(w, rank);
  }

  /**
   * W = U·S·V; A = √(S/s)·V and B = U·√(S/s) of the first singular values (Meng et al. 2024). The
   * exact decomposition is PEFT's call in its float32, so that what an unconverted adapter took
   * from its base is found again to the last bit where LAPACK is the same.
   */
  static Factors pissa(NDArray w, int rank, double scaling, int iterations) {
    LinearAlgebra.Svd svd =
        iterations == 0
            ? LinearAlgebra.svd(w).head(rank)
            : RandomizedSvd.decompose(w, rank, iterations);
    NDArray root = svd.s().div(scaling).sqrt();
    return new Factors(svd.v().mul(root.reshape(-1, 1)), svd.u().mul(root));
  }

  /** W = Q·R; A the first rows of R and B the first columns of Q (Büyükakyüz 2024). */
  static Factors olora(NDArray w, int rank) {
    LinearAlgebra.Qr qr = LinearAlgebra.qr(w);
    return new Factors(qr.r().get(":" + rank), qr.q().get(":, :" + rank));
  }

  /** A and B lie in subspaces of the rank dimension that are orthogonal, so that B·A = 0. */
  private static Factors orthogonal(LayerSpec layer, int rank, NDManager manager) {
    if (rank % 2 != 0) {
      throw new InvalidConfigException(
          "init_lora_weights \"orthogonal\" needs an even rank; "
              + layer.path()
              + " has rank "
              + rank);
    }
    Shape square = new Shape(rank, rank);
    NDArray q = LinearAlgebra.qr(LinearAlgebra.wide(normal(manager, 1, square))).q();
    NDArray a = normal(manager, 0.1, new Shape(layer.inFeatures(), rank / 2));
    NDArray b = normal(manager, 0.1, new Shape(layer.outFeatures(), rank / 2));
    return new Factors(
        LinearAlgebra.wide(a).matMul(q.get("0::2")).transpose(),
        LinearAlgebra.wide(b).matMul(q.get("1::2")));
  }

  private static void checkLinear(LoraInitialization init, LayerSpec layer) {
    if (!layer.kind().isLinear()) {
      throw new InvalidConfigException(
          "init_lora_weights "
              + init.toJson()
              + " is for linear layers; "
              + layer.path()
              + " is a convolution: use true, \"gaussian\" or false");
    }
  }

  private static Factors keep(Factors factors, NDManager manager) {
    return new Factors(keep(factors.a(), manager), keep(factors.b(), manager));
  }

  private static NDArray keep(NDArray wide, NDManager manager) {
    NDArray kept = LinearAlgebra.narrow(wide);
    kept.attach(manager);
    NDScope.unregister(kept);
    return kept;
  }

  /**
   * Uniform in ±1/√fan-in: what He et al.'s rule is with a = √5, and torch's linear layers have.
   */
  private static NDArray kaiming(NDManager manager, Shape shape) {
    long fanIn = Arrays.stream(shape.getShape()).skip(1).reduce(1, Math::multiplyExact);
    return uniform(manager, 1 / Math.sqrt(fanIn), shape);
  }

  private static NDArray uniform(NDManager manager, double bound, Shape shape) {
    return manager.randomUniform(
        (float) -bound, (float) bound, shape, DataType.FLOAT32, manager.getDevice());
  }

  private static NDArray normal(NDManager manager, double deviation, Shape shape) {
    return manager.randomNormal(0, (float) deviation, shape, DataType.FLOAT32, manager.getDevice());
  }
}
