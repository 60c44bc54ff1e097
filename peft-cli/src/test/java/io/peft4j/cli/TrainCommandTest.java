package io.peft4j.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Whole runs of a tiny model from configuration files. */
final class TrainCommandTest {
  private static final String[] WORDS = {"the", "stop", "and", "you", "cat", "dog", "sat", "ran"};

  @TempDir private static Path base;
  @TempDir private Path work;

  @BeforeAll
  static void putTogether() throws IOException {
    for (Path from : List.of(Cli.model("llama"), Cli.GOLDEN.resolve("generation/tokenizer"))) {
      try (Stream<Path> files = Files.list(from)) {
        for (Path file : files.toList()) {
          Files.copy(file, base.resolve(file.getFileName()));
        }
      }
    }
  }

  private Path data(String name, int rows) throws IOException {
    StringBuilder lines = new StringBuilder();
    for (int i = 0; i < rows; i++) {
      lines.append(
          "{\"prompt\": \"%s %s\", \"completion\": \" %s\"}%n"
              .formatted(WORDS[i % 8], WORDS[(i / 8 + i) % 8], WORDS[(i + 3) % 8]));
    }
    return Files.writeString(work.resolve(name), lines);
  }

  private Path config(String more) throws IOException {
    String text =
        """
        model_name_or_path: %s
        dtype: float32
        dataset: %s
        output_dir: %s
        num_train_epochs: 2
        per_device_train_batch_size: 4
        learning_rate: 1e-2
        logging_steps: 1
        """
            .formatted(base, data("train.jsonl", 24), work.resolve("out"));
    return Files.writeString(work.resolve("run.yaml"), text + more);
  }

  private static Cli trained(Object... args) {
    Cli run = Cli.run(args);
    assertEquals(0, run.code(), run.err());
    return run;
  }

  @Test
  void aLoraRunLeavesAnAdapterMetricsAndCheckpoints() throws IOException {
    Path config =
        config(
            """
            method: lora
            lora_rank: 4
            lora_target: all
            eval_dataset: %s
            report_to: tensorboard
            """
                .formatted(data("eval.jsonl", 8)));

    Cli run = trained("train", config);

    Path out = work.resolve("out");
    assertTrue(run.out().startsWith("steps=12 loss="), run.out());
    assertTrue(run.out().contains("eval_token_accuracy="), run.out());
    for (String file :
        List.of(
            "adapter_config.json",
            "adapter_model.safetensors",
            "metrics.jsonl",
            "loss.png",
            "checkpoint-6/adapter_model.safetensors",
            "checkpoint-12/optimizer.safetensors")) {
      assertTrue(Files.exists(out.resolve(file)), file);
    }
    try (Stream<Path> events = Files.list(out.resolve("runs"))) {
      assertEquals(1, events.count());
    }
    List<Double> losses = new ArrayList<>();
    for (String line : Files.readAllLines(out.resolve("metrics.jsonl"))) {
      JsonNode row = new ObjectMapper().readTree(line);
      if (row.has("loss")) {
        losses.add(row.get("loss").asDouble());
      }
    }
    assertEquals(12, losses.size());
    assertTrue(losses.get(11) < 0.7 * losses.get(0), losses::toString);
    try (PretrainedModel model = PretrainedModel.load(base);
        PeftModel adapted = PeftModel.load(model, out)) {
      assertEquals(14, adapted.layerReport(Peft.DEFAULT_ADAPTER).size());
    }
  }

  @Test
  void aRunOverFourBitsLeavesAnOrdinaryAdapterAndCanGoOn() throws IOException {
    Path config =
        config(
            """
            method: qlora
            quantization_bit: 4
            bnb_4bit_quant_type: nf4
            lora_rank: 4
            lora_target: all
            init_lora_weights: loftq
            save_steps: 6
            gradient_checkpointing: true
            """);
    Cli run = trained("train", config);
    Path out = work.resolve("out");
    assertTrue(run.out().startsWith("steps=12 loss="), run.out());
    byte[] whole = Files.readAllBytes(out.resolve("adapter_model.safetensors"));
    JsonNode json = new ObjectMapper().readTree(out.resolve("adapter_config.json").toFile());
    assertEquals("LORA", json.get("peft_type").textValue());
    assertTrue(json.get("init_lora_weights").isBoolean());
    try (PretrainedModel model = PretrainedModel.load(base);
        PeftModel adapted = PeftModel.load(model, out)) {
      assertEquals(14, adapted.layerReport(Peft.DEFAULT_ADAPTER).size());
    }

    try (Stream<Path> files = Files.walk(out.resolve("checkpoint-12"))) {
      for (Path file : files.sorted((a, b) -> b.compareTo(a)).toList()) {
        Files.delete(file);
      }
    }
    trained("train", config, "resume_from_checkpoint=true");
    assertArrayEquals(whole, Files.readAllBytes(out.resolve("adapter_model.safetensors")));

    Path saved = work.resolve("saved");
    Files.move(out, saved);
    Path more =
        config(
            "method: qlora\nload_in_4bit: true\nbnb_4bit_use_double_quant: false\nadapter: %s\n"
                .formatted(saved));
    assertTrue(trained("train", more).out().startsWith("steps=12 loss="));
    Cli refused = Cli.run("train", more, "lora_r=4");
    assertEquals(2, refused.code());
    assertTrue(refused.err().contains("its own settings"), refused.err());
  }

  @Test
  void aRunThatWasCutOffEndsWithTheSameBits() throws IOException {
    Path config = config("method: lora\nr: 4\nlora_dropout: 0.1\nsave_steps: 3\n");
    trained("train", config);
    Path out = work.resolve("out");
    byte[] whole = Files.readAllBytes(out.resolve("adapter_model.safetensors"));

    for (String later : List.of("checkpoint-6", "checkpoint-9", "checkpoint-12")) {
      try (Stream<Path> files = Files.walk(out.resolve(later))) {
        for (Path file : files.sorted((a, b) -> b.compareTo(a)).toList()) {
          Files.delete(file);
        }
      }
    }
    Files.delete(out.resolve("adapter_model.safetensors"));
    trained("train", config, "resume_from_checkpoint=true");

    assertArrayEquals(whole, Files.readAllBytes(out.resolve("adapter_model.safetensors")));
    assertEquals(
        12,
        Files.readAllLines(out.resolve("metrics.jsonl")).stream()
            .filter(line -> line.contains("\"loss\""))
            .count());
  }

  @Test
  void fullTrainingLeavesAModel() throws IOException {
    Path config = config("method: full\nfreeze: [embed_tokens]\nlr: 1e-3\nsave_strategy: no\n");
    // One key under two names.
    Cli.run("train", config).refused("learning_rate and lr say the same");
    Path once = Files.writeString(config, Files.readString(config).replace("lr: 1e-3\n", ""));

    trained("train", once);

    Path out = work.resolve("out");
    assertFalse(Files.exists(out.resolve("adapter_config.json")));
    assertTrue(Files.exists(out.resolve("tokenizer.json")));
    trained(
        "perplexity", "--base", out, "--text", Files.writeString(work.resolve("t"), "the stop"));
  }

  @Test
  void adaptersAreTrainedOn() throws IOException {
    trained("train", config("method: lora\nr: 4\n"));
    Path first = work.resolve("out");
    Path config =
        Files.writeString(
            work.resolve("more.yaml"),
            Files.readString(config("method: lora\n")).replace("/out\n", "/more\n"));

    trained("train", config, "adapter_name_or_path=" + first, "max_steps=2");

    assertTrue(Files.exists(work.resolve("more").resolve("adapter_model.safetensors")));
    Cli.run("train", config, "adapter_name_or_path=" + first, "r=8", "output_dir=" + base + "x")
        .refused("adapter_name_or_path", "has its own settings");
  }

  @Test
  void packedAndRecomputedAndSmoothed() throws IOException {
    Path config =
        config(
            "method: lora\npacking: true\nmax_length: 32\ngradient_checkpointing: true\n"
                + "label_smoothing_factor: 0.1\nneftune_noise_alpha: 5\n"
                + "gradient_accumulation_steps: 2\nloraplus_lr_ratio: 4\n"
                + "lr_scheduler_type: warmup_stable_decay\nlr_scheduler_kwargs: {num_decay_steps: 1}\n");
    assertTrue(trained("train", config).out().startsWith("steps="));
  }

  @Test
  void aDryRunWritesNothing() throws IOException {
    Path config = config("method: lora\nlora_target: q_proj,v_proj\nlora_rank: 4\n");

    Cli run = trained("train", config, "--dry-run");

    assertTrue(run.out().contains("model.layers.{0,1}.self_attn.q_proj: LoRA r=4"), run.out());
    assertTrue(run.out().contains("trainable params: 896"), run.out());
    assertTrue(run.out().contains("12 steps; the first batch: loss="), run.out());
    assertFalse(Files.exists(work.resolve("out")));
  }

  @Test
  void theBatchThatFitsIsFound() throws IOException {
    Path config = config("method: lora\nmax_steps: 1\n");
    Cli run = trained("train", config, "per_device_train_batch_size=auto", "memory_budget=32GB");
    assertTrue(run.err().contains("batch size: "), run.err());
    Cli.run(
            "train",
            config,
            "per_device_train_batch_size=auto",
            "memory_budget=1MB",
            "overwrite_output_dir=true")
        .refused("takes", "more than the memory budget");
  }

  @Test
  void whatCannotBeTrainedIsRefusedBeforeAnythingIsWritten() throws IOException {
    Path config = config("method: lora\n");
    Cli.run("train", work.resolve("none.yaml")).refused("no configuration file");
    Cli.run("train", config, "model_name_or_path=" + work.resolve("none"))
        .refused("does not exist");
    Cli.run("train", config, "dataset=none.jsonl").refused("there is no data file none.jsonl");
    Cli.run("train", config, "learning_rte=1").refused("nearest: learning_rate");
    Cli.run("train", config, "target_modules=[q_prj]").refused("q_prj", "q_proj");
    Path wrong =
        Files.writeString(work.resolve("wrong.jsonl"), "{\"text\": \"the\"}\n{\"txt\": 1}\n");
    Cli.run("train", config, "dataset=" + wrong).refused("wrong.jsonl", "line 2");
    assertFalse(Files.exists(work.resolve("out")));
    Files.createDirectory(work.resolve("out"));
    Files.writeString(work.resolve("out").resolve("notes.txt"), "mine");
    Cli.run("train", config).refused("is not empty", "overwrite_output_dir");
    trained("train", config, "overwrite_output_dir=true", "max_steps=1");
    assertEquals("mine", Files.readString(work.resolve("out").resolve("notes.txt")));
  }

  @Test
  void aListOfMethodsLeavesAHybrid() throws IOException {
    Path config =
        config(
            """
            method:
              - {method: lora, name: task, r: 2, target_modules: [q_proj, v_proj]}
              - ia3
            """);

    Cli run = trained("train", config);

    assertTrue(run.out().startsWith("steps=12 loss="), run.out());
    Path out = work.resolve("out");
    assertTrue(Files.isRegularFile(out.resolve("hybrid_config.json")));
    assertTrue(Files.isRegularFile(out.resolve("ia3").resolve("adapter_config.json")));
    try (PretrainedModel model = PretrainedModel.load(base);
        PeftModel adapted = PeftModel.load(model, out)) {
      assertEquals(2, adapted.adapter(Peft.DEFAULT_ADAPTER).parts().size());
    }
  }
}
