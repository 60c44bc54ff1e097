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
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Merged directories that load again, and none that are half done. */
final class MergeCommandTest {
  private static final Path LLAMA = Cli.model("llama");

  @TempDir private Path temporary;

  private static Cli merge(Path base, Path adapter, Path out, Object... more) {
    List<Object> args =
        new ArrayList<>(Arrays.asList("merge", "--base", base, "--adapter", adapter, "--out", out));
    args.addAll(Arrays.asList(more));
    return Cli.run(args.toArray());
  }

  private static void computes(Path base, Path io, String key, double tolerance) {
    Cli.run("verify", "--base", base, "--io", io, "--expect", key, "--tolerance", tolerance)
        .succeeded();
  }

  private List<String> left() throws IOException {
    try (Stream<Path> files = Files.list(temporary)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }

  @ParameterizedTest
  @CsvSource({
    "llama, llama-patterns, merged",
    // PEFT's merge changes both of two tied layers; here only the adapted one changes.
    "llama-tied, llama-tied-head, output",
    "bert-classifier, bert-classifier-bias-all, merged",
    "roberta-classifier, roberta-classifier-lora, merged",
    "bert-tokens, bert-tokens-lora, merged",
    "roberta-answers, roberta-answers-lora, merged.end_logits"
  })
  void whatIsSavedComputesWhatPythonDoes(String model, String adapter, String key)
      throws IOException {
    Path out = temporary.resolve("new").resolve("merged");
    Cli run = merge(Cli.model(model), Cli.adapter(adapter), out, "--dtype", "float32").succeeded();
    assertTrue(run.out().startsWith("merged default into "), run.out());
    assertTrue(run.out().contains(" in float32, 1 file in " + out), run.out());
    computes(out, Cli.adapter(adapter).resolve("io.safetensors"), key, 1e-5);
    assertEquals(List.of("new"), left());
    Cli.run("inspect", "--base", out).succeeded();
  }

  @Test
  void theTypeIsTheBasesUnlessOneIsNamed() throws IOException {
    Path io = Cli.adapter("llama-f16-lora").resolve("io.safetensors");
    Path same = temporary.resolve("same");
    merge(Cli.model("llama-f16"), Cli.adapter("llama-f16-lora"), same).succeeded();
    assertTypes(same, TensorType.F16, "float16");
    computes(same, io, "merged", 0.05);
    Path brain = temporary.resolve("brain");
    merge(Cli.model("llama-f16"), Cli.adapter("llama-f16-lora"), brain, "--dtype", "bf16")
        .succeeded();
    assertTypes(brain, TensorType.BF16, "bfloat16");
    Path full = temporary.resolve("full");
    merge(Cli.model("llama-f16"), Cli.adapter("llama-f16-lora"), full, "--dtype", "float32")
        .succeeded();
    assertTypes(full, TensorType.F32, "float32");
    computes(full, io, "merged", 1e-5);
  }

  private static void assertTypes(Path directory, TensorType type, String name) {
    try (Checkpoint checkpoint = Checkpoint.open(directory)) {
      checkpoint.names().forEach(tensor -> assertEquals(type, checkpoint.info(tensor).type()));
    }
    assertEquals(name, Json.readObject(directory.resolve("config.json")).get("dtype").textValue());
  }

  private Path quantized() {
    Path base = temporary.resolve("quantized");
    Cli.run("quantize", "--base", LLAMA, "--out", base, "--double-quant").succeeded();
    return base;
  }

  @Test
  void aBaseInFourBitsIsMergedIntoWhatItUnpacksTo() throws IOException {
    Path base = quantized();
    Path out = temporary.resolve("merged");
    Cli run = merge(base, Cli.adapter("llama-lora"), out).succeeded();
    assertTrue(run.out().contains(" in float32, "), run.out());
    assertTypes(out, TensorType.F32, "float32");
    assertFalse(Json.readObject(out.resolve("config.json")).has("quantization_config"));
    Cli.run("inspect", "--base", out).succeeded();
  }

  @Test
  void aBaseInFourBitsIsMergedBackByName() throws IOException {
    Path base = quantized();
    Path out = temporary.resolve("packed");
    Cli run = merge(base, Cli.adapter("llama-lora"), out, "--into-4bit").succeeded();
    assertTrue(run.out().matches("(?s).*back in 4 bits [0-9]+ weights are off by .*"), run.out());
    assertTrue(Json.readObject(out.resolve("config.json")).has("quantization_config"));
    try (Checkpoint before = Checkpoint.open(base);
        Checkpoint after = Checkpoint.open(out)) {
      assertEquals(before.names(), after.names());
      String adapted = "model.layers.0.self_attn.q_proj.weight";
      String other = "model.layers.0.mlp.down_proj.weight";
      assertFalse(before.buffer(adapted).equals(after.buffer(adapted)));
      assertEquals(before.buffer(other), after.buffer(other));
    }
    Cli.run("inspect", "--base", out).succeeded();
    merge(LLAMA, Cli.adapter("llama-lora"), temporary.resolve("no"), "--into-4bit")
        .refused("--into-4bit", "is not in 4 bits");
    assertEquals(List.of("packed", "quantized"), left());
  }

  @Test
  void shardsAreNoLargerThanAsked() throws IOException {
    Path out = temporary.resolve("shards");
    String said =
        merge(LLAMA, Cli.adapter("llama-lora"), out, "--max-shard-size", "40KB").succeeded().out();
    int shards;
    try (Checkpoint checkpoint = Checkpoint.open(out)) {
      shards = checkpoint.files().size();
      for (Path file : checkpoint.files()) {
        // 40,000 bytes of tensors and a header.
        assertTrue(Files.size(file) < 44_000, file + " has " + Files.size(file));
      }
    }
    assertTrue(shards >= 3, "shards: " + shards);
    assertTrue(said.contains(shards + " files in "), said);
    computes(out, Cli.adapter("llama-lora").resolve("io.safetensors"), "merged", 1e-5);
  }

  @Test
  void severalAdaptersMayBeMerged() throws IOException {
    Path out = Files.createDirectory(temporary.resolve("empty"));
    Cli run =
        Cli.run(
            "merge",
            "--base",
            LLAMA,
            "--adapter",
            "a=" + Cli.multi("llama", "a"),
            "--adapter",
            "b=" + Cli.multi("llama", "b"),
            "--adapter",
            "d=" + Cli.multi("llama", "d"),
            "--active",
            "a=0.5,b=-0.25,d=2",
            "--out",
            out);
    assertTrue(run.succeeded().out().startsWith("merged a=0.5, b=-0.25, d=2 into"), run.out());
    computes(out, Cli.multi("llama", "io.safetensors"), "weighted", 1e-5);
  }

  @Test
  void nothingIsOverwritten() throws IOException {
    Path full = Files.createDirectory(temporary.resolve("full"));
    Files.writeString(full.resolve("mine.txt"), "mine");
    merge(LLAMA, Cli.adapter("llama-lora"), full).refused("full", "not empty");
    merge(LLAMA, Cli.adapter("llama-lora"), full.resolve("mine.txt")).refused("is a file");
    assertEquals("mine", Files.readString(full.resolve("mine.txt")));
    assertEquals(List.of("full"), left());
  }

  @Test
  void failuresLeaveNothingBehind() throws IOException {
    Path out = temporary.resolve("out");
    merge(LLAMA, Cli.adapter("llama-lora-bias"), out).refused("cannot be merged", "bias");
    merge(LLAMA, Cli.adapter("bert-lora"), out).refused("does not fit");
    merge(LLAMA, Cli.adapter("llama-lora"), out, "--dtype", "int8").refused("--dtype", "int8");
    merge(LLAMA, Cli.adapter("llama-lora"), out, "--max-shard-size", "big").refused("5GB", "big");
    merge(LLAMA, Cli.adapter("llama-lora"), out, "--max-shard-size", "0").refused("at least one");
    merge(LLAMA, temporary.resolve("none"), out).refused("none");
    Cli.run("merge", "--base", LLAMA, "--out", out).refused("nothing to merge");
    assertFalse(Files.exists(out));
    Path parent = Files.writeString(temporary.resolve("file"), "");
    merge(LLAMA, Cli.adapter("llama-lora"), parent.resolve("out")).refused("file");
    assertEquals(List.of("file"), left());
  }
}
