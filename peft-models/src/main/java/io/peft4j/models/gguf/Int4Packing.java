package io.peft4j.models.gguf;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.models.gguf.GgufModel.Parameter;
import io.peft4j.nn.RowPacking;
import io.peft4j.nn.Weight;
import io.peft4j.state.HalfPrecision;
import io.peft4j.state.TensorArrays;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Kernel;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Scopes;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.IntBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Packs Q4_0 and Q4_1 in the engine's own form of four bits: (q - 8)·scale + offset in groups of
 * 32, where Q4_0 is (q - 8)·d and Q4_1 is q·d + m, which is (q - 8)·d + (m + 8·d). Scales, offsets
 * and activations are rounded to bfloat16; sums are float32. Five eighths of a byte for each value.
 */
final class Int4Packing implements RowPacking {
  static final Int4Packing INSTANCE = new Int4Packing();

  private static final int GROUP = 32;

  /** The engine's tiles: rows come in sixteens. */
  private static final int TILE = 16;

  private static final Kernel PACK =
      Kernel.of("q: Tensor -> Tensor", "return torch._convert_weight_to_int4pack_for_cpu(q, 1)");

  /** As many values as fit one buffer of integers. */
  private static final long MOST_VALUES = 1 << 28;

  private Int4Packing() {}

  /** Whether the engine has these products here, tried once. */
  private static final class Engine {
    private static final boolean AVAILABLE =
        PACK.works(manager -> manager.ones(new Shape(TILE, 2 * GROUP), DataType.INT32));
  }

  /** Whether a parameter has this form. */
  static boolean fits(Parameter parameter) {
    GgufType type = parameter.tensor().type();
    Shape shape = parameter.shape();
    return Engine.AVAILABLE
        && (type == GgufType.Q4_0 || type == GgufType.Q4_1)
        && shape.get(0) % TILE == 0
        && shape.size() <= MOST_VALUES;
  }

  @Override
  public @Nullable List<NDArray> pack(List<? extends Weight> weights) {
    long out = weights.stream().mapToLong(weight -> weight.shape().get(0)).sum();
    long in = weights.get(0).shape().get(1);
    if (out * in > MOST_VALUES) {
      return null;
    }
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope();
        NDManager manager = NDManager.newBaseManager(Device.cpu(), "PyTorch")) {
      scope.suppressNotUsedWarning();
      float[] scales = new float[Math.toIntExact(out * (in / GROUP) * 2)];
      NDArray values =
          TensorArrays.fill(
              manager,
              new Shape(out, in),
              DataType.INT32,
              (destination, first, elements) ->
                  unpack(
                      weights, destination.order(ByteOrder.nativeOrder()).asIntBuffer(), scales));
      NDArray grouped = manager.create(scales, new Shape(in / GROUP, out, 2));
      return List.of(
          Scopes.unmanaged(PACK.call(values)), Scopes.unmanaged(Ops.toBfloat16(grouped)));
    }
  }

  /** Puts each value's four bits into an integer, and scales as [group, row, scale and offset]. */
  private static void unpack(List<? extends Weight> weights, IntBuffer values, float[] scales) {
    record Row(GgufWeight weight, long row) {}
    List<Row> rows = new ArrayList<>();
    for (Weight weight : weights) {
      for (long row = 0; row < weight.shape().get(0); row++) {
        rows.add(new Row((GgufWeight) weight, row));
      }
    }
    int out = rows.size();
    IntStream.range(0, out)
        .parallel()
        .forEach(
            index -> {
              GgufWeight weight = rows.get(index).weight;
              boolean offset = weight.parameter().tensor().type() == GgufType.Q4_1;
              ByteBuffer packed = weight.row(rows.get(index).row).order(ByteOrder.LITTLE_ENDIAN);
              int in = Math.toIntExact(weight.shape().get(1));
              for (int group = 0; group < in / GROUP; group++) {
                float d = HalfPrecision.fromFloat16(packed.getShort());
                float m = offset ? HalfPrecision.fromFloat16(packed.getShort()) : -8 * d;
                int at = (group * out + index) * 2;
                scales[at] = d;
                scales[at + 1] = m + 8 * d;
                int to = index * in + group * GROUP;
                for (int i = 0; i < GROUP / 2; i++) {
                  byte two = packed.get();
                  values.put(to + i, two & 0xf);
                  values.put(to + GROUP / 2 + i, (two >> 4) & 0xf);
                }
              }
            });
  }

  @Override
  public int operands() {
    return 2;
  }

  @Override
  public String product(String x, List<String> names) {
    String flat = "torch.flatten(torch.to(" + x + ", 15), 0, -2)";
    String product =
        "torch._weight_int4pack_mm_for_cpu("
            + flat
            + ", "
            + names.get(0)
            + ", "
            + GROUP
            + ", "
            + names.get(1)
            + ")";
    return "torch.reshape(torch.to("
        + product
        + ", 6), torch.add(torch.slice(torch.size("
        + x
        + "), 0, -1, 1), [-1]))";
  }

  @Override
  public long bytes(long values) {
    return values / 2 + values / GROUP * 2 * Short.BYTES;
  }
}
