package io.peft4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a model is made of, and what a configuration would do to it. */
final class InspectCommandTest {
  private static final String LLAMA_2_7B =
      """
      {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096,
       "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
       "num_key_value_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096,
       "rms_norm_eps": 1e-05, "hidden_act": "silu", "torch_dtype": "bfloat16"}
      """;

  @TempDir private Path temporary;

  private Path file(String name, String text) throws IOException {
    return Files.writeString(temporary.resolve(name), text);
  }

  private static void assertLine(String text, String expression) {
    assertTrue(
        text.lines().anyMatch(line -> line.matches(expression)),
        expression + " is not in\n" + text);
  }

  @Test
  void plansALargeModelFromItsConfigurationAlone() throws IOException {
    Path base = file("config.json", LLAMA_2_7B);
    Path config =
        file(
            "adapter_config.json",
            """
            {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}
            """);
    // A directory without weights is the same as the file.
    for (Path where : new Path[] {base, temporary}) {
      String out = Cli.run("inspect", "--base", where, "--config", config).succeeded().out();
      assertLine(
          out,
          "model\\.layers\\.\\{0\\.\\.31\\}\\.self_attn\\.q_proj +Linear +\\[4096, 4096\\] +bf16"
              + " +LoRA r=8 scaling=2 \\(target_modules q_proj\\)");
      assertLine(out, "model\\.layers\\.\\{0\\.\\.31\\}\\.self_attn\\.k_proj +Linear .* bf16");
      assertLine(out, ".*: LORA, adapts 64 of 226 layers that can be adapted");
      assertLine(
          out,
          "trainable params: 4,194,304 \\|\\| all params: 6,742,609,920 \\|\\| trainable%: 0\\.0622");
      assertLine(out, " +weights on disk +12\\.6 GiB");
      assertLine(out, " +weights, loaded +25\\.1 GiB .*");
      assertLine(out, " +adapter +64\\.0 MiB .*");
    }
  }

  @Test
  void activationsGrowWithTheTokens() throws IOException {
    Path base = file("config.json", LLAMA_2_7B);
    Path config = file("lora.json", "{}");
    String small =
        Cli.run("inspect", "--base", base, "--config", config, "--length", 1024).succeeded().out();
    String large =
        Cli.run("inspect", "--base", base, "--config", config, "--batch", 4, "--length", 2560)
            .succeeded()
            .out();
    assertEquals(10, activations(large) / activations(small), 0.2);
  }

  private static double activations(String out) {
    String line = out.lines().filter(l -> l.contains("activations")).findFirst().orElseThrow();
    return Double.parseDouble(line.trim().split(" +")[1]);
  }

  @Test
  void saysHowEachWeightIsStored() {
    String half = Cli.run("inspect", "--base", Cli.model("llama-f16")).succeeded().out();
    assertLine(half, "model\\.layers\\.\\{0,1\\}\\.mlp\\.up_proj +Linear +\\[64, 32\\] +f16");
    String tied = Cli.run("inspect", "--base", Cli.model("llama-tied")).succeeded().out();
    assertLine(tied, "lm_head +Linear .* bf16, tied to model\\.embed_tokens\\.weight");
    assertLine(tied, ".*: LlamaForCausalLM \\(llama\\), \\d+ tensors in 2 files, .*");
    String every = Cli.run("inspect", "--base", Cli.model("bert"), "--all").succeeded().out();
    assertLine(
        every, "encoder\\.layer\\.1\\.output\\.dense +Linear +\\[32, 64\\] \\+bias +float32");
    assertLine(every, "trainable params: 0 \\|\\| all params: .*");
    assertFalse(every.contains("{"), every);
  }

  @Test
  void namesWhatDoesNotMatchAndTheNearest() throws IOException {
    Path config =
        file(
            "typo.json",
            """
            {"target_modules": ["q_prj", "v_proj"], "rank_pattern": {"k_proj": 4}}
            """);
    Cli run = Cli.run("inspect", "--base", Cli.model("llama"), "--config", config);
    assertEquals(1, run.code());
    assertEquals("", run.err());
    assertLine(run.out(), "! target_modules entry 'q_prj' matches no layer .*q_proj.*");
    assertLine(run.out(), "! rank_pattern key 'k_proj' matches no adapted layer .*");
    assertLine(run.out(), "model\\.layers\\.\\{0,1\\}\\.self_attn\\.v_proj .*LoRA r=8.*");
  }

  @Test
  void saysWhatIsLeftOutAndTrainedWhole() {
    String out =
        Cli.run(
                "inspect",
                "--base",
                Cli.model("bert-classifier"),
                "--config",
                Cli.adapter("bert-classifier-exclude"))
            .succeeded()
            .out();
    assertLine(
        out,
        "- bert\\.encoder\\.layer\\.\\{0,1\\}\\.attention\\.output\\.dense: targeted by 'dense',"
            + " left out by exclude_modules 'attention\\.output\\.dense'");
    assertLine(out, "classifier +Linear .*trained whole \\(modules_to_save\\)");
  }

  @Test
  void weightsThatAreNotTheModelsAreNamed() throws IOException {
    Path broken = temporary.resolve("broken");
    Files.createDirectories(broken);
    Files.copy(
        Cli.model("llama").resolve("model.safetensors"), broken.resolve("model.safetensors"));
    String config = Files.readString(Cli.model("llama").resolve("config.json"));
    Files.writeString(
        broken.resolve("config.json"),
        config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"));
    Cli run = Cli.run("inspect", "--base", broken);
    assertEquals(1, run.code());
    assertLine(run.out(), "! tensors are missing: model\\.layers\\.2\\.self_attn\\.q_proj.* more");
    Files.writeString(
        broken.resolve("config.json"),
        config
            .replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1")
            .replace("\"vocab_size\": 100", "\"vocab_size\": 90"));
    run = Cli.run("inspect", "--base", broken);
    assertEquals(1, run.code());
    assertLine(run.out(), "! tensors are not the model's: model\\.layers\\.1\\..*");
    assertLine(run.out(), "! tensors have other shapes .* model\\.embed_tokens\\.weight is .*");
  }

  @Test
  void aMissingPoolerIsNotCounted() throws IOException {
    Path headless = temporary.resolve("headless");
    Files.createDirectories(headless);
    Files.copy(
        Cli.model("bert-classifier").resolve("model.safetensors"),
        headless.resolve("model.safetensors"));
    String config = Files.readString(Cli.model("bert").resolve("config.json"));
    Files.writeString(headless.resolve("config.json"), config);
    // Has a pooler, under the name it has below a head.
    assertLine(Cli.run("inspect", "--base", headless).out(), "pooler\\.dense .* float32");
    Files.delete(headless.resolve("model.safetensors"));
    Files.copy(
        Cli.model("roberta-classifier").resolve("model.safetensors"),
        headless.resolve("model.safetensors"));
    Files.copy(
        Cli.model("roberta").resolve("config.json"),
        headless.resolve("config.json"),
        java.nio.file.StandardCopyOption.REPLACE_EXISTING);
    String out = Cli.run("inspect", "--base", headless).out();
    assertFalse(out.contains("\npooler.dense"), out);
    assertFalse(out.contains("missing"), out);
  }

  @Test
  void badFilesAreRefused() throws IOException {
    Cli.run("inspect", "--base", temporary).refused("config.json: there is no such file");
    Cli.run("inspect", "--base", file("bad.json", "{\"a\": ")).refused("bad.json", "JSON");
    Cli.run("inspect", "--base", file("t5.json", "{\"model_type\": \"t5\"}"))
        .refused("t5.json", "'t5'");
    Path base = Cli.model("llama");
    Cli.run("inspect", "--base", base, "--config", temporary.resolve("none.json"))
        .refused("none.json: there is no such file");
    Cli.run("inspect", "--base", base, "--config", file("u.json", "{\"lora_alfa\": 3}"))
        .refused("u.json", "lora_alfa");
    Cli.run("inspect", "--base", base, "--config", file("p.json", "{\"peft_type\": \"IA7\"}"))
        .refused("p.json", "peft_type", "LORA", "IA7");
    Path cut = temporary.resolve("cut");
    Files.createDirectories(cut);
    Files.copy(base.resolve("config.json"), cut.resolve("config.json"));
    byte[] whole = Files.readAllBytes(base.resolve("model.safetensors"));
    Files.write(
        cut.resolve("model.safetensors"), java.util.Arrays.copyOf(whole, whole.length - 100));
    Cli.run("inspect", "--base", cut).refused("model.safetensors");
  }
}
