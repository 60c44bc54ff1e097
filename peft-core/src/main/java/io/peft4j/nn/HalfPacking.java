package io.peft4j.nn;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDArrays;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.Shape;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Kernel;
import io.peft4j.torch.NativeHeap;
import io.peft4j.torch.Scopes;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Packs in float16, half the bytes of float32. It holds every bfloat16 of a magnitude from 2^-17 to
 * 65504 exactly and smaller ones within 2^-25. The engine has these products on x86 only.
 */
final class HalfPacking implements RowPacking {
  /** Packs weights that are [out, in]. */
  static final HalfPacking INSTANCE = new HalfPacking(false);

  /** Packs weights that are [in, out]. */
  static final HalfPacking TRANSPOSED = new HalfPacking(true);

  private static final Kernel PACK =
      Kernel.of("w: Tensor -> Tensor", "return torch.fbgemm_pack_gemm_matrix_fp16(w)");
  private static final Kernel LARGEST =
      Kernel.of("w: Tensor -> Tensor", "return torch.max(torch.abs(w))");

  /** The largest finite float16. */
  private static final float MOST = 65504;

  private final boolean transposed;

  private HalfPacking(boolean transposed) {
    this.transposed = transposed;
  }

  /** Whether the engine has these products here, tried once. */
  private static final class Engine {
    private static final boolean AVAILABLE = PACK.works(manager -> manager.ones(new Shape(16, 16)));
  }

  @Override
  public @Nullable List<NDArray> pack(List<? extends Weight> weights) {
    if (!Engine.AVAILABLE) {
      return null;
    }
    List<NDArray> pack = packed(weights);
    if (pack != null) {
      weights.forEach(Weight::packed);
      // What was widened on the way may be as large as all packs together.
      NativeHeap.trim();
    }
    return pack;
  }

  private @Nullable List<NDArray> packed(List<? extends Weight> weights) {
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      NDList dense = new NDList();
      for (Weight weight : weights) {
        NDArray values = weight.dense();
        if (!values.getDevice().equals(Device.cpu())) {
          return null;
        }
        dense.add(transposed ? values.transpose() : values);
      }
      NDArray all = dense.size() == 1 ? dense.head() : NDArrays.concat(dense);
      // Before packing: the operator would cut larger values off in the array that it is given,
      // which may be the weight itself. NaN does not pass either.
      if (!(LARGEST.call(all).getFloat() <= MOST)) {
        return null;
      }
      NDArray zeros = all.getManager().zeros(new Shape(all.getShape().get(0)));
      return List.of(Scopes.unmanaged(PACK.call(all)), Scopes.unmanaged(zeros));
    }
  }

  @Override
  public int operands() {
    return 2;
  }

  @Override
  public String product(String x, List<String> names) {
    return "torch.fbgemm_linear_fp16_weight_fp32_activation("
        + x
        + ", "
        + names.get(0)
        + ", "
        + names.get(1)
        + ")";
  }

  @Override
  public long bytes(long values) {
    return values * Short.BYTES;
  }
}
