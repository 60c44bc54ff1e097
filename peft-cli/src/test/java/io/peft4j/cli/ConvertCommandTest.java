package io.peft4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.state.Checkpoint;
import io.peft4j.state.Json;
import io.peft4j.state.TensorType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** GGUF files that become directories, and those that do not. */
final class ConvertCommandTest {
  private static final Path GGUF = Cli.GOLDEN.resolve("gguf");

  @TempDir private Path temporary;

  private List<String> left() throws IOException {
    try (Stream<Path> files = Files.list(temporary)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }

  @Test
  void whatIsWrittenComputesWhatPythonDoes() throws IOException {
    Path out = temporary.resolve("llama");
    Cli run = Cli.run("convert", "--in", GGUF.resolve("llama.gguf"), "--out", out).succeeded();
    assertTrue(run.out().startsWith("converted "), run.out());
    assertTrue(run.out().contains(" in float32, 1 file in " + out), run.out());
    Cli.run(
            "verify",
            "--base",
            out,
            "--io",
            GGUF.resolve("llama-io.safetensors"),
            "--expect",
            "logits",
            "--tolerance",
            "1e-4")
        .succeeded();
    assertEquals(List.of("llama"), left());
  }

  @Test
  void theTypeIsTheOneNamed() {
    Path out = temporary.resolve("brain");
    Cli.run("convert", "--in", GGUF.resolve("llama.gguf"), "--out", out, "--dtype", "bf16")
        .succeeded();
    try (Checkpoint checkpoint = Checkpoint.open(out)) {
      checkpoint.names().forEach(n -> assertEquals(TensorType.BF16, checkpoint.info(n).type()));
    }
    assertEquals("bfloat16", Json.readObject(out.resolve("config.json")).get("dtype").textValue());
  }

  @Test
  void badInputIsOneLineAndLeavesNothing() throws IOException {
    Path out = temporary.resolve("out");
    Path llama = GGUF.resolve("llama.gguf");
    Cli.run("convert", "--in", llama, "--out", out, "--dtype", "int8").refused("--dtype", "int8");
    Cli.run("convert", "--in", llama, "--out", out, "--max-shard-size", "big").refused("big");
    Cli.run("convert", "--in", GGUF.resolve("none.gguf"), "--out", out).refused("no such file");
    Cli.run("convert", "--in", GGUF.resolve("types.gguf"), "--out", out).refused("'none'", "qwen2");
    Cli.run("convert", "--in", GGUF.resolve("llama.json"), "--out", out).refused("not a GGUF file");
    byte[] whole = Files.readAllBytes(llama);
    Path cut = Files.write(temporary.resolve("cut.gguf"), Arrays.copyOf(whole, 30_000));
    Cli.run("convert", "--in", cut, "--out", out).refused("cut.gguf");
    assertFalse(Files.exists(out));
    Cli.run("convert", "--in", llama, "--out", temporary).refused("not empty");
    assertEquals(List.of("cut.gguf"), left());
  }
}
