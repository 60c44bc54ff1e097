package io.peft4j.qlora;

import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.DoubleNode;
import io.peft4j.qlora.block.NestedScales;
import io.peft4j.qlora.block.PackedBlocks;
import io.peft4j.qlora.block.PlainScales;
import io.peft4j.state.Json;
import io.peft4j.state.SafeTensorsWriter.Entry;
import io.peft4j.state.TensorType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * The tensors of a 4-bit weight in a checkpoint of bitsandbytes. For a parameter called {@code
 * weight} they are
 *
 * <ul>
 *   <li>{@code weight}: the codes, two a byte, the first in the high half, as a column of U8 or,
 *       with the same bytes, of another type;
 *   <li>{@code weight.absmax}: a scale for each block, F32; with double quantization U8 codes;
 *   <li>{@code weight.quant_map}: the values of the 16 codes, F32;
 *   <li>{@code weight.nested_absmax}: with double quantization, F32, a scale for each 256 scales;
 *   <li>{@code weight.nested_quant_map}: with double quantization, F32, the values of 256 codes;
 *   <li>{@code weight.quant_state.bitsandbytes__nf4} or {@code ..fp4}: JSON as UTF-8 in U8, with
 *       {@code quant_type}, {@code blocksize}, {@code dtype}, {@code shape} and, with double
 *       quantization, {@code nested_blocksize} (256), {@code nested_dtype} (float32) and {@code
 *       nested_offset}.
 * </ul>
 */
public final class BitsAndBytesFormat {
  static final String ABSMAX = ".absmax";
  static final String MAP = ".quant_map";
  static final String NESTED_ABSMAX = ".nested_absmax";
  static final String NESTED_MAP = ".nested_quant_map";
  static final String STATE = ".quant_state.bitsandbytes__";

  private BitsAndBytesFormat() {}

  /**
   * The tensors of a weight.
   *
   * @param name the parameter's name
   * @param tensor the weight, open until they are written
   * @param storageType the type of the codes
   * @return the tensors
   */
  public static List<Entry> entries(String name, QuantizedTensor tensor, TensorType storageType) {
    PackedBlocks blocks = tensor.blocks();
    long bytes = blocks.packed().limit();
    int width = storageType.bits() / 8;
    // A column of wider elements must be whole; bitsandbytes refuses what is not.
    TensorType type = bytes % width == 0 ? storageType : TensorType.U8;
    List<Entry> entries = new ArrayList<>();
    entries.add(Entry.of(name, type, new Shape(bytes * 8 / type.bits(), 1), blocks.packed()));
    entries.add(floats(name + MAP, littleEndian(blocks.type().codes())));
    if (blocks.scales() instanceof NestedScales nested) {
      entries.add(
          Entry.of(
              name + ABSMAX, TensorType.U8, new Shape(nested.codes().limit()), nested.codes()));
      entries.add(floats(name + NESTED_ABSMAX, nested.largestBytes()));
      entries.add(floats(name + NESTED_MAP, nested.mapBytes()));
    } else if (blocks.scales() instanceof PlainScales plain) {
      entries.add(floats(name + ABSMAX, plain.values()));
    }
    byte[] state = state(tensor).getBytes(StandardCharsets.UTF_8);
    entries.add(
        Entry.of(
            name + STATE + blocks.type().key(),
            TensorType.U8,
            new Shape(state.length),
            ByteBuffer.wrap(state)));
    return entries;
  }

  private static Entry floats(String name, ByteBuffer bytes) {
    return Entry.of(name, TensorType.F32, new Shape(bytes.limit() / Float.BYTES), bytes);
  }

  private static ByteBuffer littleEndian(float[] values) {
    ByteBuffer bytes =
        ByteBuffer.allocate(values.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    return bytes;
  }

  /** As Python's standard library writes it, in the order in which bitsandbytes has the keys. */
  private static String state(QuantizedTensor tensor) {
    PackedBlocks blocks = tensor.blocks();
    StringBuilder json = new StringBuilder();
    json.append("{\"quant_type\": \"")
        .append(blocks.type().key())
        .append("\", \"blocksize\": ")
        .append(blocks.blockSize())
        .append(", \"dtype\": \"")
        .append(BitsAndBytesConfig.name(tensor.type()))
        .append("\", \"shape\": [");
    for (int i = 0; i < tensor.shape().dimension(); i++) {
      json.append(i == 0 ? "" : ", ").append(tensor.shape().get(i));
    }
    json.append(']');
    if (blocks.scales() instanceof NestedScales nested) {
      json.append(", \"nested_blocksize\": ")
          .append(NestedScales.BLOCK)
          .append(", \"nested_dtype\": \"float32\", \"nested_offset\": ")
          .append(Json.toPythonString(DoubleNode.valueOf(nested.offset())));
    }
    return json.append('}').toString();
  }
}
