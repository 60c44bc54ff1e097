package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A way to hold weights for products of few rows, as when text is generated token by token: such
 * products are bound by reading the weights, so they are packed in few bits, while activations and
 * sums stay wide. There is one instance for each way, so that weights of one way can be packed
 * together.
 */
public interface RowPacking {

  /**
   * Packing in float16, for weights that are stored or computed in no more bits.
   *
   * @return the way
   */
  static RowPacking half() {
    return HalfPacking.INSTANCE;
  }

  /**
   * Packs weights that are given the same input, one below the other.
   *
   * @param weights weights of this way, each [out, in]
   * @return the arrays that {@link #product} computes with, attached to no manager that is closed;
   *     the caller closes them. Null if these values cannot be packed, or the engine has no such
   *     product on this machine
   */
  @Nullable List<NDArray> pack(List<? extends Weight> weights);

  /**
   * The number of arrays of a pack.
   *
   * @return at least 1
   */
  int operands();

  /**
   * The product as an expression of a kernel.
   *
   * @param x a variable, float32 [..., in]
   * @param names variables for the arrays of the pack
   * @return an expression for a new array, float32 [..., outs together]
   */
  String product(String x, List<String> names);

  /**
   * The bytes of a pack.
   *
   * @param values number of values packed
   * @return number of bytes
   */
  long bytes(long values);
}
