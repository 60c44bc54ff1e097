package io.peft4j.onnx.graph;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.index.NDIndex;
import ai.djl.ndarray.types.Shape;
import io.peft4j.models.onnx.OnnxType;
import io.peft4j.nn.DenseWeight;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.state.HalfPrecision;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Scopes;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The weights of a model as a graph stores them. Values are read piece by piece, when they are
 * written; the snapshot must stay open until then.
 */
public final class StoredWeights {
  private static final int PIECE = 1 << 22;

  private final ModelLayout layout;
  private final WeightSnapshot weights;
  private final WeightFormat format;

  /**
   * The weights of a model.
   *
   * @param layout names and shapes
   * @param weights the weights; stays the caller's
   * @param format how they are stored
   */
  public StoredWeights(ModelLayout layout, WeightSnapshot weights, WeightFormat format) {
    this.layout = layout;
    this.weights = weights;
    this.format = format;
  }

  ModelLayout layout() {
    return layout;
  }

  private Weight weight(String parameter) {
    return weights.weight(layout.parameterIndex(parameter));
  }

  /** The parameter that a tied one shares its weight with, if it does so now; else itself. */
  String shared(String parameter) {
    String other = layout.tied().get(parameter);
    return other != null && weight(other) == weight(parameter) ? other : parameter;
  }

  boolean isInt4(LayerSpec layer) {
    return format == WeightFormat.INT4
        && (layer.kind() == LayerKind.LINEAR || layer.kind() == LayerKind.LINEAR_TRANSPOSED)
        && !layout.outputLayer().filter(layer.path()::equals).isPresent()
        && layout.heads().stream().noneMatch(head -> (layer.path() + ".").startsWith(head + "."));
  }

  // --- what a graph holds ---------------------------------------------------------------------

  /** The type in which a parameter is stored, if not in 4 bits. */
  OnnxType type(String parameter) {
    return format == WeightFormat.FLOAT16 && weight(parameter).shape().dimension() > 1
        ? OnnxType.FLOAT16
        : OnnxType.FLOAT;
  }

  /** A parameter as it is, or a matrix turned over. */
  Initializer dense(String parameter, String name, boolean transposed) {
    OnnxType type = type(parameter);
    return new Initializer(
        name,
        type,
        sizes(parameter, transposed),
        channel ->
            pieces(
                parameter,
                transposed,
                (values, width) -> Initializer.write(channel, bytes(values, type))));
  }

  private long[] sizes(String parameter, boolean transposed) {
    long[] sizes = weight(parameter).shape().getShape();
    return transposed ? new long[] {sizes[1], sizes[0]} : sizes;
  }

  private static ByteBuffer bytes(float[] values, OnnxType type) {
    ByteBuffer bytes = Initializer.buffer(values.length * type.bits() / Byte.SIZE);
    for (float value : values) {
      if (type == OnnxType.FLOAT16) {
        bytes.putShort(HalfPrecision.toFloat16(value));
      } else {
        bytes.putFloat(value);
      }
    }
    return bytes.flip();
  }

  /** A layer's matrix in 4 bits, uint8 [out, blocks, 16]. */
  Initializer packed(LayerSpec layer, String name) {
    int in = Math.toIntExact(layer.inFeatures());
    return new Initializer(
        name,
        OnnxType.UINT8,
        new long[] {layer.outFeatures(), Int4Blocks.blocks(in), Int4Blocks.BLOCK / 2},
        channel ->
            pieces(
                layer.weightName(),
                layer.kind() == LayerKind.LINEAR_TRANSPOSED,
                (values, width) -> {
                  for (int row = 0; row < values.length; row += in) {
                    Initializer.write(channel, ByteBuffer.wrap(Int4Blocks.pack(values, row, in)));
                  }
                }));
  }

  /** The scales that belong to {@link #packed}, float32 [out · blocks]. */
  Initializer scales(LayerSpec layer, String name) {
    int in = Math.toIntExact(layer.inFeatures());
    return new Initializer(
        name,
        OnnxType.FLOAT,
        new long[] {layer.outFeatures() * Int4Blocks.blocks(in)},
        channel ->
            pieces(
                layer.weightName(),
                layer.kind() == LayerKind.LINEAR_TRANSPOSED,
                (values, width) -> {
                  for (int row = 0; row < values.length; row += in) {
                    float[] scales = Int4Blocks.scales(values, row, in);
                    Initializer.write(channel, bytes(scales, OnnxType.FLOAT));
                  }
                }));
  }

  /** Takes some whole rows, one after the other. */
  @FunctionalInterface
  private interface Rows {
    void accept(float[] values, int width) throws IOException;
  }

  private void pieces(String parameter, boolean transposed, Rows rows) throws IOException {
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      NDArray dense = weight(parameter).dense();
      if (dense.getShape().dimension() < 2) {
        rows.accept(dense.toFloatArray(), Math.toIntExact(dense.size()));
        return;
      }
      NDArray matrix = transposed ? dense.transpose() : dense;
      long count = matrix.getShape().get(0);
      int width = Math.toIntExact(matrix.size() / count);
      long step = Math.max(1, PIECE / width);
      for (long begin = 0; begin < count; begin += step) {
        long end = Math.min(count, begin + step);
        try (NDScope piece = new NDScope()) {
          piece.suppressNotUsedWarning();
          NDArray part = matrix.get(new NDIndex().addSliceDim(begin, end));
          rows.accept(part.toFloatArray(), width);
        }
      }
    }
  }

  // --- what it stands for ---------------------------------------------------------------------

  /**
   * The weights that the graph stands for, where something is lost by storing them.
   *
   * @return parameter name to float32 weight, which the caller closes; null if nothing is lost
   */
  public @Nullable Map<String, Weight> rounded() {
    if (format == WeightFormat.FLOAT32) {
      return null;
    }
    Map<String, Weight> rounded = new LinkedHashMap<>();
    for (String name : layout.parameters().keySet()) {
      rounded.put(name, rounded(name));
    }
    for (String alias : layout.tied().keySet()) {
      if (shared(alias).equals(alias)) {
        rounded.put(alias, rounded(alias));
      }
    }
    return rounded;
  }

  private Weight rounded(String name) {
    LayerSpec quantized =
        layout.layers().stream()
            .filter(layer -> layer.weightName().equals(name) && isInt4(layer))
            .findFirst()
            .orElse(null);
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope();
        NDManager manager = NDManager.newBaseManager("PyTorch")) {
      scope.suppressNotUsedWarning();
      NDArray dense = weight(name).dense();
      boolean transposed = quantized != null && quantized.kind() == LayerKind.LINEAR_TRANSPOSED;
      NDArray matrix = transposed ? dense.transpose() : dense;
      float[] values = matrix.toFloatArray();
      if (quantized != null) {
        int in = Math.toIntExact(quantized.inFeatures());
        for (int row = 0; row < values.length; row += in) {
          Int4Blocks.round(values, row, in);
        }
      } else if (type(name) == OnnxType.FLOAT16) {
        for (int i = 0; i < values.length; i++) {
          values[i] = HalfPrecision.fromFloat16(HalfPrecision.toFloat16(values[i]));
        }
      }
      NDArray made = manager.create(values, new Shape(matrix.getShape().getShape()));
      return DenseWeight.owning(
          Scopes.unmanaged(Ops.engineOwned(transposed ? made.transpose().duplicate() : made)));
    }
  }
}
