package io.peft4j.vera;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.peft4j.torch.Ops;
import org.apache.commons.math3.random.MersenneTwister;

/**
 * The two random matrices, as {@code torch.Generator().manual_seed(key)} and {@code uniform_} make
 * them: Kaiming's bound √6/√fan, numbers of 24 bits from a Mersenne twister.
 *
 * @param a float32 [rank, largest in]
 * @param b float32 [largest out, rank]
 */
record Projection(NDArray a, NDArray b) {

  static Projection random(NDManager manager, int seed, int rank, long in, long out) {
    MersenneTwister random = new MersenneTwister(seed);
    return new Projection(
        uniform(manager, random, new Shape(rank, in)),
        uniform(manager, random, new Shape(out, rank)));
  }

  private static NDArray uniform(NDManager manager, MersenneTwister random, Shape shape) {
    double deviation = Math.sqrt(2) / Math.sqrt(shape.get(1));
    float bound = (float) (Math.sqrt(3) * deviation);
    float width = bound - -bound;
    float[] values = new float[Math.toIntExact(shape.size())];
    for (int i = 0; i < values.length; i++) {
      float unit = (random.nextInt() & 0xffffff) * 0x1p-24f;
      values[i] = unit * width - bound;
    }
    NDArray array = Ops.engineOwned(manager.create(values, shape));
    array.attach(manager);
    return array;
  }
}
