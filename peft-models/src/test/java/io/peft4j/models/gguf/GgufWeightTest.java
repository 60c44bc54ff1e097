package io.peft4j.models.gguf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.Shape;
import io.peft4j.nn.Weight;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Precision;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Packed weights compute what the unpacked values do. */
final class GgufWeightTest {
  private static final int OUT = 64;
  private static final int IN = 512;

  /** A Llama of one layer with eight heads, one for keys, and matrices of one type. */
  private static Path file(Path directory, GgufType type) throws IOException {
    GgufBuilder builder =
        GgufBuilder.of("llama")
            .integer("llama.context_length", 32)
            .integer("llama.embedding_length", IN)
            .integer("llama.block_count", 1)
            .integer("llama.feed_forward_length", OUT)
            .integer("llama.attention.head_count", 8)
            .integer("llama.attention.head_count_kv", 1)
            .number("llama.attention.layer_norm_rms_epsilon", 1e-5f)
            .floats("token_embd.weight", IN, 6)
            .floats("output_norm.weight", IN)
            .floats("blk.0.attn_norm.weight", IN)
            .floats("blk.0.ffn_norm.weight", IN)
            .random("blk.0.attn_q.weight", type, IN, IN)
            .random("blk.0.attn_k.weight", type, IN, OUT)
            .random("blk.0.attn_v.weight", type, IN, OUT)
            .random("blk.0.attn_output.weight", type, IN, IN)
            .random("blk.0.ffn_gate.weight", type, IN, OUT)
            .random("blk.0.ffn_up.weight", type, IN, OUT)
            .floats("blk.0.ffn_down.weight", OUT, IN);
    return builder.write(directory.resolve("model.gguf"));
  }

  private static float relativeError(NDArray expected, NDArray actual) {
    float worst = expected.sub(actual).abs().max().getFloat();
    return worst / expected.abs().max().getFloat();
  }

  @ParameterizedTest
  @CsvSource({
    "Q4_0, mlp.gate_proj",
    "Q4_1, mlp.gate_proj",
    "Q8_0, mlp.gate_proj",
    "Q4_K, mlp.gate_proj",
    "Q6_K, mlp.gate_proj",
    "F16, mlp.gate_proj",
    "BF16, mlp.gate_proj",
    // Rows in another order.
    "Q4_0, self_attn.k_proj",
    "Q4_1, self_attn.q_proj",
    "Q8_0, self_attn.k_proj"
  })
  void productsAreThoseOfTheUnpackedValues(GgufType type, String layer, @TempDir Path directory)
      throws IOException {
    Path file = file(directory, type);
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode off = GradMode.off();
        NDScope scope = new NDScope();
        GgufModel model = GgufModel.open(file)) {
      scope.suppressNotUsedWarning();
      String name = "model.layers.0." + layer + ".weight";
      NDArray exact = model.float32(manager, name);
      for (Precision precision : Precision.values()) {
        try (Weight weight = model.weight(name, Optional.of(precision))) {
          assertEquals(exact.getShape(), weight.shape());
          long out = exact.getShape().get(0);
          assertArrayEquals(exact.toFloatArray(), weight.dense().toFloatArray());
          NDArray ids = manager.create(new long[] {3, 0, out - 1, 3}, new Shape(2, 2));
          assertArrayEquals(
              exact.get(ids.flatten()).toFloatArray(), weight.rows(ids).toFloatArray());
          for (int rows : new int[] {1, 5, 40}) {
            NDArray x = manager.randomNormal(new Shape(rows, 1, IN));
            NDArray bias = manager.randomNormal(new Shape(out));
            NDArray expected = Ops.linear(x, exact, bias);
            float tolerance = precision == Precision.FLOAT32 ? 2e-6f : 2e-2f;
            // The first product of few rows is by unpacked values, the second by packed ones.
            for (int time = 0; time < 3; time++) {
              float error = relativeError(expected, weight.linear(x, bias));
              assertTrue(error <= tolerance, type + " " + precision + " " + rows + ": " + error);
            }
          }
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"Q4_0", "Q4_1"})
  void fourBitsStayFourBits(String type, @TempDir Path directory) throws IOException {
    Path file = file(directory, GgufType.valueOf(type));
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode off = GradMode.off();
        GgufModel model = GgufModel.open(file);
        Weight weight =
            model.weight("model.layers.0.mlp.gate_proj.weight", Optional.of(Precision.BFLOAT16))) {
      long stored = GgufType.valueOf(type).bytes(OUT * IN);
      assertEquals(stored, weight.bytes());
      NDArray x = manager.ones(new Shape(1, 1, IN));
      weight.linear(x, null).close();
      weight.linear(x, null).close();
      assertEquals(stored + OUT * IN * 5 / 8, weight.bytes());
    }
  }
}
