package io.peft4j.nn;

import ai.djl.engine.EngineException;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.PeftException;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Kernel;
import io.peft4j.torch.Scopes;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Products of few rows with a weight, as when text is generated token by token. They are bound by
 * reading the weight, so it is packed for the purpose in 16 bits, half the bytes of float32, while
 * activations and sums stay float32.
 *
 * <p>Packing rounds to float16, which holds every bfloat16 of a magnitude from 2^-17 to 65504
 * exactly and smaller ones within 2^-25. The pack is made at the second product, so that a single
 * pass does not pay for it, and costs two bytes for each value. Nothing is recorded for a backward
 * pass. The engine has such products on x86 only; elsewhere this never applies.
 */
final class FewRows implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(FewRows.class);

  /** From about here on a product is bound by arithmetic. */
  static final int MOST_ROWS = 32;

  /** What float16 holds; beyond it packing would saturate. */
  private static final Kernel PACK =
      Kernel.of(
          "w: Tensor -> Tuple[Tensor, Tensor]",
          "f = torch.to(w, 6)",
          "return (torch.fbgemm_pack_gemm_matrix_fp16(f), torch.le(torch.max(torch.abs(f)), 65504.))");

  private static final Kernel PRODUCT =
      Kernel.of(
          "x: Tensor, p: Tensor, b: Tensor -> Tensor",
          "return torch.fbgemm_linear_fp16_weight_fp32_activation(x, p, b)");

  private static volatile boolean available = true;

  private int calls;
  private boolean unsuitable;
  private @Nullable NDArray packed;
  private @Nullable NDArray zeros;

  /**
   * Multiplies, if this is the way to do it.
   *
   * @param x float32 [..., in]
   * @param weight [out, in] in any floating-point type
   * @param shape the shape of {@code weight}
   * @param bias float32 [out], or null for none
   * @return float32 [..., out], or null if there are many rows, gradients are recorded, or this has
   *     no advantage yet
   */
  @Nullable NDArray linear(NDArray x, NDArray weight, Shape shape, @Nullable NDArray bias) {
    if (!available || x.getShape().size() > MOST_ROWS * shape.get(1) || JniUtils.isGradMode()) {
      return null;
    }
    NDArray pack = pack(weight, shape);
    NDArray zero = zeros;
    return pack == null || zero == null ? null : PRODUCT.call(x, pack, bias == null ? zero : bias);
  }

  private synchronized @Nullable NDArray pack(NDArray weight, Shape shape) {
    if (packed != null || unsuitable || ++calls < 2) {
      return packed;
    }
    try (GradMode off = GradMode.off()) {
      packed = packed(weight);
      unsuitable = packed == null;
      if (packed != null && zeros == null) {
        zeros = Scopes.unmanaged(weight.getManager().zeros(new Shape(shape.get(0))));
      }
    }
    return packed;
  }

  /**
   * Packs a matrix.
   *
   * @param weight [out, in] in any floating-point type
   * @return the pack, which is the caller's to close; null if values are out of float16's range or
   *     there is no such operator here
   */
  static @Nullable NDArray packed(NDArray weight) {
    if (!available) {
      return null;
    }
    try {
      NDList made = PACK.callMany(weight);
      boolean fits;
      try (NDArray flag = made.get(1)) {
        fits = flag.getBoolean();
      }
      if (fits) {
        return Scopes.unmanaged(made.head());
      }
      made.head().close();
    } catch (EngineException | PeftException e) {
      LOG.info("products of few rows are not packed: {}", e.getMessage());
      available = false;
    }
    return null;
  }

  synchronized long bytes(Shape shape) {
    return packed == null ? 0 : shape.size() * Short.BYTES;
  }

  @Override
  public synchronized void close() {
    for (NDArray array : new NDArray[] {packed, zeros}) {
      if (array != null) {
        array.close();
      }
    }
    packed = null;
    zeros = null;
    unsuitable = true;
  }
}
