package io.peft4j.qlora.block;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.state.HalfPrecision;
import io.peft4j.state.Json;
import io.peft4j.state.SafeTensors;
import io.peft4j.state.TensorType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32;
import org.jspecify.annotations.Nullable;

/** What bitsandbytes made of values: golden/quantization. */
final class Cases {
  static final Path FOLDER = Path.of(System.getProperty("peft4j.golden"), "quantization");

  private Cases() {}

  /** One tensor that bitsandbytes quantized. */
  record Case(
      String name,
      QuantType type,
      int block,
      boolean nested,
      TensorType dtype,
      boolean drawn,
      int count,
      long crc) {
    @Override
    public String toString() {
      return name;
    }

    float[] input(SafeTensors tensors) {
      float[] values = new float[count];
      if (drawn) {
        draw(name, values);
        for (int i = 0; i < count; i++) {
          values[i] =
              switch (dtype) {
                case BF16 -> HalfPrecision.fromBfloat16(HalfPrecision.toBfloat16(values[i]));
                case F16 -> HalfPrecision.fromFloat16(HalfPrecision.toFloat16(values[i]));
                default -> values[i];
              };
        }
      } else {
        tensors.buffer(name + "/input").asFloatBuffer().get(values);
      }
      return values;
    }

    Form form() {
      return switch (dtype) {
        case BF16 -> Form.BFLOAT16;
        case F16 -> Form.FLOAT16;
        default -> Form.FLOAT32;
      };
    }

    PackedBlocks quantize(SafeTensors tensors) {
      float[] values = input(tensors);
      return Cases.quantize(type, block, nested, values);
    }
  }

  /** Values between -1 and 1, as the script draws them. */
  static void draw(String name, float[] to) {
    CRC32 crc = new CRC32();
    crc.update(name.getBytes(StandardCharsets.UTF_8));
    int state = (int) crc.getValue();
    for (int i = 0; i < to.length; i++) {
      state = state * 1664525 + 1013904223;
      float value = ((state >>> 8) - (1 << 23)) / (float) (1 << 23);
      to[i] = value * value * value;
    }
  }

  static PackedBlocks quantize(QuantType type, int block, boolean nested, float[] values) {
    return PackedBlocks.quantize(
        type,
        block,
        nested ? Cases::mean : (PackedBlocks.@Nullable Mean) null,
        values.length,
        (first, count, to) -> System.arraycopy(values, (int) first, to, 0, count),
        "test",
        ByteBuffer::allocateDirect);
  }

  static float mean(float[] values) {
    try (NDManager manager = NDManager.newBaseManager();
        NDArray array = manager.create(values);
        NDArray mean = array.mean()) {
      return mean.getFloat();
    }
  }

  static byte[] unpack(PackedBlocks blocks, Form form, BlockDecoder decoder) {
    int count = Math.toIntExact(blocks.count());
    ByteBuffer bytes =
        ByteBuffer.allocateDirect(count * form.bytes()).order(ByteOrder.nativeOrder());
    blocks.unpack(decoder, form, bytes, 0, count);
    return bytes(bytes);
  }

  static byte[] bytes(ByteBuffer buffer) {
    byte[] bytes = new byte[buffer.remaining()];
    buffer.duplicate().get(bytes);
    return bytes;
  }

  static List<Case> all() {
    List<Case> cases = new ArrayList<>();
    for (JsonNode node : Json.readObject(FOLDER.resolve("cases.json")).get("cases")) {
      int count = 1;
      for (JsonNode size : node.get("shape")) {
        count *= size.intValue();
      }
      cases.add(
          new Case(
              node.get("name").textValue(),
              QuantType.named(node.get("type").textValue()),
              node.get("block").intValue(),
              node.get("double").booleanValue(),
              TensorType.parse(node.get("dtype").textValue()).orElseThrow(),
              node.get("drawn").booleanValue(),
              count,
              node.get("crc").longValue()));
    }
    return cases;
  }
}
