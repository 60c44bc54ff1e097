package io.peft4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class ExportCommandTest {
  private static final Path GOLDEN = Path.of(System.getProperty("peft4j.golden"));
  private static final Path LLAMA = GOLDEN.resolve("models/llama");
  private static final Path ADAPTER = GOLDEN.resolve("adapters/llama-lora");

  @TempDir private Path temporary;

  private Path out(String name) {
    return temporary.resolve(name);
  }

  private static void verifies(Path base, Object... adapter) {
    Object[] rest = {
      "--io", ADAPTER.resolve("io.safetensors"), "--expect", "output", "--tolerance", "1e-4"
    };
    Object[] all = new Object[3 + adapter.length + rest.length];
    System.arraycopy(new Object[] {"verify", "--base", base}, 0, all, 0, 3);
    System.arraycopy(adapter, 0, all, 3, adapter.length);
    System.arraycopy(rest, 0, all, 3 + adapter.length, rest.length);
    Cli.run(all).succeeded();
  }

  @Test
  void mergedGraphsAreVerified() {
    Path out = out("merged");
    Cli.run("export", "--base", LLAMA, "--adapter", ADAPTER, "--format", "onnx", "--out", out)
        .succeeded();
    verifies(out);
    verifies(out.resolve("model.onnx"));
  }

  @Test
  void adaptersActOnReadyGraphs() {
    Path out = out("ready");
    Cli.run(
            "export",
            "--base",
            LLAMA,
            "--adapter",
            "a=" + ADAPTER,
            "--format",
            "onnx-adapter-ready",
            "--out",
            out)
        .succeeded();
    verifies(out, "--adapter", out.resolve("a.onnx_adapter"));
    Path file = out("b.onnx_adapter");
    Cli.run(
            "export",
            "--base",
            LLAMA,
            "--adapter",
            ADAPTER,
            "--format",
            "onnx-adapter",
            "--out",
            file)
        .succeeded();
    verifies(out, "--adapter", "x=" + file);
    Path rslora = GOLDEN.resolve("onnx/bert-lora.onnx_adapter");
    Cli.run(
            "verify",
            "--base",
            out,
            "--adapter",
            rslora,
            "--io",
            ADAPTER.resolve("io.safetensors"),
            "--expect",
            "output")
        .refused("the graph has no input");
  }

  @Test
  void exportedModelsGenerate() throws Exception {
    Path out = out("text");
    Cli.run("export", "--base", LLAMA, "--format", "onnx", "--quantize", "f16", "--out", out)
        .succeeded();
    Cli.run("generate", "--base", out, "--prompt", "a").refused("tokenizer.json");
    for (String name : List.of("tokenizer.json", "tokenizer_config.json")) {
      Files.copy(GOLDEN.resolve("generation/tokenizer").resolve(name), out.resolve(name));
    }
    String ids =
        Cli.run("generate", "--base", out, "--prompt", "a b", "--max-new-tokens", "5", "--ids")
            .succeeded()
            .out();
    assertEquals(5, ids.strip().split(" ").length);
  }

  @Test
  void mergedModelsAreWrittenForTransformers() {
    Path out = out("merged");
    Cli.run(
            "export",
            "--base",
            LLAMA,
            "--adapter",
            ADAPTER,
            "--format",
            "safetensors",
            "--out",
            out)
        .succeeded();
    verifies(out);
  }

  @Test
  void badInputIsRefusedAndNothingWritten() {
    Path out = out("none");
    Cli.run("export", "--base", LLAMA, "--format", "pt", "--out", out)
        .refused("onnx-adapter-ready", "'pt'");
    Cli.run("export", "--base", LLAMA, "--format", "onnx", "--quantize", "int3", "--out", out)
        .refused("int3");
    Cli.run("export", "--base", LLAMA, "--format", "onnx-adapter", "--out", out)
        .refused("one adapter");
    Path dora = GOLDEN.resolve("adapters/llama-dora");
    Cli.run(
            "export",
            "--base",
            LLAMA,
            "--adapter",
            dora,
            "--format",
            "onnx-adapter-ready",
            "--out",
            out)
        .refused("use_dora");
    Cli.run("export", "--base", LLAMA, "--format", "onnx", "--tolerance", "0", "--out", out)
        .refused("differ");
    assertFalse(Files.exists(out));
    assertTrue(Files.isDirectory(temporary));
  }
}
