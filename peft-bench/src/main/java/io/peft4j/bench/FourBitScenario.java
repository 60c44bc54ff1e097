package io.peft4j.bench;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.qlora.BitsAndBytesConfig;
import io.peft4j.qlora.QuantizedTensor;
import io.peft4j.qlora.block.Form;
import io.peft4j.qlora.block.QuantType;
import io.peft4j.state.TensorType;
import java.util.ArrayList;
import java.util.List;

/**
 * Quantizing a matrix of a 1.1B Llama to NF4, and unpacking it into memory of tensors that has been
 * used before, against copying as many bytes there.
 */
final class FourBitScenario {
  private static final int WARMUPS = 30;
  private static final int ROUNDS = 25;

  private FourBitScenario() {}

  static void run(Settings settings) {
    Figures figures = new Figures(settings.output());
    Shape shape = settings.tiny() ? new Shape(64, 64) : new Shape(5632, 2048);
    int count = (int) shape.size();
    BitsAndBytesConfig config = BitsAndBytesConfig.builder().doubleQuantization(true).build();
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDArray values = manager.randomNormal(shape);
      NDArray wide = manager.create(shape, DataType.FLOAT32);
      NDArray half = manager.create(shape, DataType.FLOAT16);
      NDArray halfSource = values.toType(DataType.FLOAT16, true);
      try (QuantizedTensor tensor = quantize(config, values)) {
        List<QuantizedTensor> made = new ArrayList<>();
        Times times =
            new InTurns()
                .task("float32", () -> unpack(tensor, Form.FLOAT32, wide, count))
                .task("copy_float32", () -> values.copyTo(wide))
                .task("bfloat16", () -> unpack(tensor, Form.BFLOAT16, half, count))
                .task("copy_bfloat16", () -> halfSource.copyTo(half))
                .task(
                    "quantize",
                    () -> made.add(quantize(config, values)),
                    () -> {
                      made.forEach(QuantizedTensor::close);
                      made.clear();
                    })
                .run(WARMUPS, ROUNDS);
        for (String type : List.of("float32", "bfloat16")) {
          figures.add(
              "nf4.unpack_" + type + ".gvalues_per_second", count / times.milliseconds(type) / 1e6);
          figures.add("nf4.unpack_" + type + ".to_copy", times.ratio("copy_" + type, type));
        }
        figures.add(
            "nf4.quantize.gvalues_per_second", count / times.milliseconds("quantize") / 1e6);
        figures.add("nf4.bits_per_value", 8.0 * tensor.bytes() / count);
        unpack(tensor, Form.FLOAT32, wide, count);
        errors(figures, "nf4.double", wide, values);
        for (QuantType type : QuantType.values()) {
          try (QuantizedTensor single =
              quantize(BitsAndBytesConfig.builder().type(type).build(), values)) {
            unpack(single, Form.FLOAT32, wide, count);
            errors(figures, type.key(), wide, values);
          }
        }
        // Whole steps of a seventh of the largest magnitude of each 64 values.
        NDArray blocks = values.reshape(-1, 64);
        NDArray scale = blocks.abs().max(new int[] {1}, true).div(7);
        errors(figures, "int4", blocks.div(scale).round().mul(scale), blocks);
      }
    }
  }

  private static void errors(Figures figures, String type, NDArray unpacked, NDArray values) {
    NDArray error = unpacked.sub(values);
    figures.add("error." + type + ".mean_absolute", error.abs().mean().getFloat());
    figures.add("error." + type + ".mean_squared", error.square().mean().getFloat());
  }

  private static QuantizedTensor quantize(BitsAndBytesConfig config, NDArray values) {
    return QuantizedTensor.quantize(config, values, TensorType.F32, "random");
  }

  private static void unpack(QuantizedTensor tensor, Form form, NDArray to, int count) {
    tensor.blocks().unpack(form, to.toByteBuffer(true), 0, count);
  }
}
