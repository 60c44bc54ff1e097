package io.peft4j.models.gguf;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.models.gguf.GgufModel.Parameter;
import io.peft4j.nn.DenseWeight;
import io.peft4j.nn.FewRows;
import io.peft4j.nn.RowPacking;
import io.peft4j.nn.Weight;
import io.peft4j.state.TensorArrays;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Precision;
import io.peft4j.torch.Scopes;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import org.jspecify.annotations.Nullable;

/**
 * A quantized matrix held as its bytes in the mapped file. Products of many rows unpack it for
 * their own length; products of few rows use a pack: of four bits where the values have that form,
 * else of float16.
 */
final class GgufWeight implements Weight {
  private final GgufFile file;
  private final Parameter parameter;
  private final Shape shape;
  private final Precision precision;
  private final FewRows fewRows;

  /**
   * A weight that closes its file when it is closed.
   *
   * @param parameter a matrix whose rows are rows of the file
   * @param precision what products of many rows are computed in
   */
  GgufWeight(GgufFile file, Parameter parameter, Precision precision) {
    this.file = file;
    this.parameter = parameter;
    this.precision = precision;
    shape = parameter.shape();
    fewRows = new FewRows(rowPacking());
  }

  Parameter parameter() {
    return parameter;
  }

  GgufFile file() {
    return file;
  }

  @Override
  public Shape shape() {
    return shape;
  }

  @Override
  public NDArray dense() {
    try (NDManager manager = NDManager.newBaseManager(Device.cpu(), "PyTorch")) {
      return Scopes.unowned(
          file.float32(manager, parameter.tensor().name(), parameter.arrangement()));
    }
  }

  @Override
  public Precision precision() {
    return precision;
  }

  @Override
  public RowPacking rowPacking() {
    return Int4Packing.fits(parameter) ? Int4Packing.INSTANCE : RowPacking.half();
  }

  @Override
  public NDArray linear(NDArray x, @Nullable NDArray bias) {
    NDArray few = fewRows.linear(x, this, bias);
    if (few != null) {
      return few;
    }
    NDArray dense = dense();
    return precision == Precision.BFLOAT16
        ? Ops.linearBfloat16(x, dense, bias)
        : Ops.linear(x, dense, bias);
  }

  @Override
  public NDArray rows(NDArray ids) {
    long[] rows = ids.toLongArray();
    int width = Math.toIntExact(shape.get(1));
    Dequantizer source = new Dequantizer(file, parameter.tensor());
    return file.guarded(
        parameter.tensor(),
        () ->
            TensorArrays.fill(
                ids.getManager(),
                ids.getShape().add(width),
                DataType.FLOAT32,
                (destination, first, elements) -> {
                  FloatBuffer values =
                      destination.slice().order(ByteOrder.nativeOrder()).asFloatBuffer();
                  for (int i = 0; i < elements; i += width) {
                    long row =
                        parameter
                            .arrangement()
                            .storedRow(rows[(int) ((first + i) / width)], shape.get(0));
                    source.some(row * width, width, values.slice(i, width));
                  }
                }));
  }

  /** The packed bytes of a row. */
  ByteBuffer row(long row) {
    long bytes = parameter.tensor().type().bytes(shape.get(1));
    long stored = parameter.arrangement().storedRow(row, shape.get(0));
    return file.buffer(parameter.tensor().name(), stored * bytes, Math.toIntExact(bytes));
  }

  @Override
  public Weight withValues(NDArray values) {
    return DenseWeight.owning(values, precision);
  }

  @Override
  public long bytes() {
    return parameter.tensor().bytes() + fewRows.bytes(shape.size());
  }

  @Override
  public void close() {
    fewRows.close();
    file.close();
  }
}
