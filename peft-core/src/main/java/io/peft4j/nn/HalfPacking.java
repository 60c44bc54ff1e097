package io.peft4j.nn;

import ai.djl.engine.EngineException;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDArrays;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.Shape;
import io.peft4j.PeftException;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Kernel;
import io.peft4j.torch.Scopes;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Packs in float16, half the bytes of float32. It holds every bfloat16 of a magnitude from 2^-17 to
 * 65504 exactly and smaller ones within 2^-25. The engine has these products on x86 only.
 */
final class HalfPacking implements RowPacking {
  static final HalfPacking INSTANCE = new HalfPacking();

  private static final Logger LOG = LoggerFactory.getLogger(HalfPacking.class);

  private static final Kernel PACK =
      Kernel.of(
          "w: Tensor -> Tuple[Tensor, Tensor]",
          // Beyond what float16 holds, packing would saturate.
          "return (torch.fbgemm_pack_gemm_matrix_fp16(w), torch.le(torch.max(torch.abs(w)), 65504.))");

  private volatile boolean available = true;

  private HalfPacking() {}

  @Override
  public @Nullable List<NDArray> pack(List<? extends Weight> weights) {
    if (!available) {
      return null;
    }
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      NDList dense = new NDList();
      weights.forEach(weight -> dense.add(weight.dense()));
      NDArray all = dense.size() == 1 ? dense.head() : NDArrays.concat(dense);
      NDList made = PACK.callMany(all);
      if (!made.get(1).getBoolean()) {
        return null;
      }
      NDArray zeros = all.getManager().zeros(new Shape(all.getShape().get(0)));
      return List.of(Scopes.unmanaged(made.head()), Scopes.unmanaged(zeros));
    } catch (EngineException | PeftException e) {
      LOG.info("products of few rows are not packed: {}", e.getMessage());
      available = false;
      return null;
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
