package io.peft4j.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.state.SafeTensors;
import io.peft4j.state.TensorType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Models and tensors in 4 bits, and what refuses to become so. */
final class QuantizeCommandTest {
  private static final Path GOLDEN = Cli.GOLDEN.resolve("quantization");

  @TempDir private Path temporary;

  @Test
  void theDirectoryIsThatOfTransformersAndABase() throws IOException {
    Path out = temporary.resolve("llama");
    Cli run =
        Cli.run("quantize", "--base", Cli.model("llama"), "--out", out, "--double-quant")
            .succeeded();
    assertTrue(
        run.out().contains("14 of 21 parameters to nf4 with double quantization"), run.out());
    assertArrayEquals(
        Files.readAllBytes(GOLDEN.resolve("llama-nf4-dq/model.safetensors")),
        Files.readAllBytes(out.resolve("model.safetensors")));
    String inspected = Cli.run("inspect", "--base", out).succeeded().out();
    assertTrue(inspected.contains("nf4"), inspected);
    Cli.run("quantize", "--base", out, "--out", temporary.resolve("again"))
        .refused("quantized already");
    assertFalse(Files.exists(temporary.resolve("again")));
  }

  @Test
  void modulesThatAreNamedStayAsTheyAre() {
    Path out = temporary.resolve("llama");
    Cli.run("quantize", "--base", Cli.model("llama"), "--out", out, "--skip", "lm_head,up_proj")
        .succeeded();
    try (SafeTensors tensors = SafeTensors.open(out.resolve("model.safetensors"))) {
      String up = "model.layers.1.mlp.up_proj.weight";
      assertEquals(TensorType.F32, tensors.info(up).type());
      assertEquals(TensorType.U8, tensors.info(up.replace("up", "gate")).type());
    }
  }

  @Test
  void aTensorIsWrittenWithItsValues() {
    Path in = GOLDEN.resolve("tensors.safetensors");
    Path out = temporary.resolve("ties.safetensors");
    Cli.run(
            "quantize-tensor",
            "--in",
            in,
            "--tensor",
            "ties-nf4-dq/input",
            "--out",
            out,
            "--double-quant")
        .succeeded();
    try (SafeTensors made = SafeTensors.open(out);
        SafeTensors golden = SafeTensors.open(in)) {
      Set<String> names =
          new TreeSet<>(
              Set.of(
                  "dequantized",
                  "weight",
                  "weight.absmax",
                  "weight.nested_absmax",
                  "weight.nested_quant_map",
                  "weight.quant_map",
                  "weight.quant_state.bitsandbytes__nf4"));
      assertEquals(names, new TreeSet<>(made.names()));
      names.remove("dequantized");
      names.removeIf(name -> name.endsWith("quant_map"));
      for (String name : names) {
        assertEquals(golden.buffer("ties-nf4-dq/" + name), made.buffer(name), name);
      }
      assertEquals(golden.info("ties-nf4-dq/input").shape(), made.info("dequantized").shape());
    }
  }

  @Test
  void badInputIsOneLineAndLeavesNothing() throws IOException {
    Path out = temporary.resolve("out");
    Path llama = Cli.model("llama");
    Cli.run("quantize", "--base", llama, "--out", out, "--block", "48").refused("48", "4096");
    Cli.run("quantize", "--base", llama, "--out", out, "--type", "int4").refused("int4", "nf4");
    Cli.run("quantize", "--base", llama, "--out", out, "--skip", "(").refused("'('");
    Cli.run("quantize", "--base", temporary.resolve("none"), "--out", out).refused("none");
    Path tensors = GOLDEN.resolve("tensors.safetensors");
    Cli.run("quantize-tensor", "--in", tensors, "--tensor", "none", "--out", out).refused("none");
    Cli.run("quantize-tensor", "--in", tensors, "--tensor", "one-nf4/weight", "--out", out)
        .refused("one-nf4/weight", "U8");
    Path bad =
        Cli.io(
            temporary.resolve("nan.safetensors"), new long[] {1}, "w", new long[] {2}, 1, 0f / 0);
    Cli.run("quantize-tensor", "--in", bad, "--tensor", "w", "--out", out).refused("w: value 1");
    assertFalse(Files.exists(out));
  }
}
