package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.torch.Kernel;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * The products of few rows with one weight. The pack is made at the second of them, so that a
 * single pass does not pay for it. Nothing is recorded for a backward pass. Closed by the weight.
 */
public final class FewRows implements AutoCloseable {
  /** From about here on a product is bound by arithmetic. */
  static final int MOST_ROWS = 32;

  private static final Map<RowPacking, Kernel> PRODUCTS = new ConcurrentHashMap<>();

  private final RowPacking packing;
  private int calls;
  private boolean unsuitable;
  private @Nullable List<NDArray> packed;

  /**
   * No pack yet.
   *
   * @param packing how to pack
   */
  public FewRows(RowPacking packing) {
    this.packing = packing;
  }

  /**
   * Multiplies, if this is the way to do it.
   *
   * @param x float32 [batch, ..., in]
   * @param weight the weight, always the same
   * @param bias float32 [out], or null for none
   * @return float32 [..., out], or null if there are many rows or several tokens of one, gradients
   *     are recorded, or this has no advantage yet
   */
  public @Nullable NDArray linear(NDArray x, Weight weight, @Nullable NDArray bias) {
    Shape shape = x.getShape();
    boolean single = shape.dimension() < 3 || shape.get(shape.dimension() - 2) == 1;
    if (!single || shape.get(0) > MOST_ROWS || JniUtils.isGradMode()) {
      return null;
    }
    List<NDArray> pack = pack(weight);
    if (pack == null) {
      return null;
    }
    NDArray[] inputs = new NDArray[1 + pack.size()];
    inputs[0] = x;
    for (int i = 0; i < pack.size(); i++) {
      inputs[i + 1] = pack.get(i);
    }
    NDArray product = PRODUCTS.computeIfAbsent(packing, FewRows::kernel).call(inputs);
    return bias == null ? product : product.addi(bias);
  }

  private static Kernel kernel(RowPacking packing) {
    List<String> names =
        new ArrayList<>(IntStream.range(0, packing.operands()).mapToObj(i -> "w" + i).toList());
    String product = "return " + packing.product("x", names);
    names.add(0, "x");
    return Kernel.of(
        String.join(", ", names.stream().map(name -> name + ": Tensor").toList()) + " -> Tensor",
        product);
  }

  private synchronized @Nullable List<NDArray> pack(Weight weight) {
    if (packed == null && !unsuitable && ++calls >= 2) {
      packed = packing.pack(List.of(weight));
      unsuitable = packed == null;
    }
    return packed;
  }

  /**
   * The bytes that the pack takes.
   *
   * @param values number of values of the weight
   * @return number of bytes; 0 as long as there is none
   */
  public synchronized long bytes(long values) {
    return packed == null ? 0 : packing.bytes(values);
  }

  @Override
  public synchronized void close() {
    if (packed != null) {
      packed.forEach(NDArray::close);
    }
    packed = null;
    unsuitable = true;
  }
}
