package io.peft4j.cli.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.PeftException;
import io.peft4j.torch.Precision;
import io.peft4j.train.data.Packing;
import io.peft4j.train.data.TrainedTokens;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What configuration files say, and what is wrong with them. */
final class TrainConfigTest {
  private static final String LEAST =
      """
      model_name_or_path: models/llama
      method: lora
      dataset: train.jsonl
      output_dir: out
      """;

  @TempDir Path temporary;

  private TrainConfig read(String text) {
    try {
      Path file = Files.writeString(temporary.resolve("run.yaml"), text);
      return TrainConfig.of(Settings.read(file));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private String problem(String text) {
    return String.valueOf(assertThrows(PeftException.class, () -> read(text)).getMessage());
  }

  @Test
  void littleIsNeeded() {
    TrainConfig config = read(LEAST);
    assertEquals(Path.of("models/llama"), config.model().base());
    assertNull(config.model().precision());
    assertEquals(List.of(Path.of("train.jsonl")), config.data().train());
    assertEquals(TrainedTokens.USUAL, config.data().trained());
    assertEquals(2e-4, config.optimizer().settings().learningRate());
    assertEquals(3, config.steps().epochs());
    assertFalse(config.output().evaluate().ever());
    assertTrue(config.output().save().epochs());
  }

  @Test
  void aMethodHasItsOwnLearningRate() {
    TrainConfig config = read(LEAST.replace("lora", "full") + "freeze: [embed_tokens]\n");
    assertEquals(2e-5, config.optimizer().settings().learningRate());
    assertEquals("FULL", config.settings().methodConfig().peftType());
  }

  @Test
  void llamaFactorysFilesAreRead() {
    TrainConfig config =
        read(
            """
            model_name_or_path: models/llama
            stage: sft
            do_train: true
            finetuning_type: lora
            lora_rank: 16
            lora_target: all
            dataset: a.jsonl, b.jsonl
            cutoff_len: 2048
            max_samples: 1000
            output_dir: out
            logging_steps: 5
            save_steps: 100
            plot_loss: true
            overwrite_output_dir: true
            per_device_train_batch_size: 1
            gradient_accumulation_steps: 8
            learning_rate: 1.0e-4
            num_train_epochs: 3.0
            lr_scheduler_type: cosine
            warmup_ratio: 0.1
            bf16: true
            neftune_noise_alpha: 5
            train_on_prompt: false
            """);
    assertEquals(2, config.data().train().size());
    assertEquals(2048, config.data().maxLength());
    assertEquals(Precision.BFLOAT16, config.model().precision());
    assertEquals(100, config.output().save().steps());
    assertEquals(-1, config.optimizer().warmupSteps());
    assertEquals(3, config.steps().epochs());
    assertEquals(16, config.settings().methodConfig().toJson().get("r").intValue());
    assertEquals(32, config.settings().methodConfig().toJson().get("lora_alpha").intValue());
  }

  @Test
  void numbersThatYamlTakesForTextsAreNumbers() {
    assertEquals(1e-4, read(LEAST + "learning_rate: 1e-4\n").optimizer().settings().learningRate());
    TrainConfig.OptimizerPart small = read(LEAST + "optim: paged_adamw_8bit\n").optimizer();
    assertEquals(List.of(true, true), List.of(small.eightBit(), small.paged()));
  }

  @Test
  void packing() {
    assertEquals(Packing.BEST_FIT, read(LEAST + "packing: true\n").data().packing());
    assertEquals(
        Packing.WRAPPED,
        read(LEAST + "packing: true\npacking_strategy: wrapped\n").data().packing());
    assertTrue(read(LEAST + "padding_free: true\n").data().paddingFree());
  }

  @Test
  void evaluationIsDoneWhereThereIsDataForIt() {
    assertTrue(read(LEAST + "eval_dataset: e.jsonl\n").output().evaluate().epochs());
    assertEquals(
        7, read(LEAST + "eval_dataset: e.jsonl\neval_steps: 7\n").output().evaluate().steps());
    assertFalse(
        read(LEAST + "eval_dataset: e.jsonl\neval_strategy: no\n").output().evaluate().ever());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "learning_rat: 1 | no key 'learning_rat'; nearest: learning_rate",
        "lora_rnk: 1 | no key 'lora_rnk'; nearest: lora_rank",
        "freeze: [x] | freeze is a setting of full; the method is lora",
        "fp16: true | float16 is too narrow",
        "dtype: float16 | float16 is too narrow",
        "learning_rate: fast | learning_rate must be a number from 0 to 1000000, was \"fast\"",
        "num_train_epochs: 0 | num_train_epochs must be an integer of at least 1, was 0",
        "lr_scheduler_type: cosin | run.yaml: lr_scheduler_type must be one of constant",
        "stage: dpo | stage must be one of sft",
        "train_batch_size: many | train_batch_size must be an integer",
        "optim: adafactor | optim must be one of adamw_torch",
        "eval_strategy: steps | needs an eval_dataset",
        "load_best_model_at_end: true | needs evaluations",
        "memory_budget: 4GB | is for per_device_train_batch_size: auto",
        "packing: maybe | packing must be true or false",
        "report_to: wandb | must be none or tensorboard",
        "r: 0 | r must be an integer of at least 1",
        "lr: 1 | x",
      })
  void whatIsWrongIsNamed(String line, String expected) {
    String text = LEAST + line + "\n" + (line.equals("lr: 1") ? "learning_rate: 1\n" : "");
    String message =
        line.startsWith("r:")
            ? String.valueOf(
                assertThrows(PeftException.class, () -> read(text).settings().methodConfig())
                    .getMessage())
            : problem(text);
    assertTrue(
        message.contains(expected.equals("x") ? "lr and learning_rate say the same" : expected),
        message);
    assertTrue(message.contains("run.yaml: "), message);
    assertEquals(message.indexOf("run.yaml"), message.lastIndexOf("run.yaml"), message);
  }

  @Test
  void methodsAreListed() {
    String message = problem(LEAST.replace("method: lora", "method: lorra"));
    assertTrue(
        message.contains(
            "method must be one of bottleneck, full, hybrid, ia3, lora, qlora, vera, was \"lorra\""),
        message);
    assertTrue(problem(LEAST.replace("method: lora", "")).contains("method is needed"));
  }

  @Test
  void aListOfMethodsIsAHybrid() {
    Settings plain =
        read(LEAST.replace("method: lora", "method: [lora, ia3]") + "lora_rank: 4\n").settings();
    assertEquals("hybrid", plain.methodName());
    JsonNode parts = plain.methodConfig().toJson().get("parts");
    assertEquals("lora", parts.get(0).get("name").textValue());
    assertEquals(4, parts.get(0).get("config").get("r").intValue());
    assertEquals("IA3", parts.get(1).get("peft_type").textValue());
    assertEquals(2e-4, plain.learningRate());
    Settings own =
        read(LEAST.replace(
                    "method: lora",
                    "method: [{method: lora, name: a, r: 2}, {method: lora, name: b}, vera]")
                + "r: 16\n")
            .settings();
    parts = own.methodConfig().toJson().get("parts");
    assertEquals(2, parts.get(0).get("config").get("r").intValue());
    assertEquals(16, parts.get(1).get("config").get("r").intValue());
    assertEquals("b", parts.get(1).get("name").textValue());
    assertEquals("vera", parts.get(2).get("name").textValue());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "[lora, full] | the method of a part must be one of bottleneck, ia3, lora, qlora, vera, was \"full\"",
        "[lora, hybrid] | must be one of",
        "[lora, lora] | are named 'lora'",
        "[3] | must be one of",
        "[] | at least one part",
        "[{method: lora, rnk: 2}] | lora has no setting 'rnk'; nearest: r",
        "[{method: lora, name: a/b}] | a/b",
      })
  void listsThatAreNoHybrids(String list, String expected) {
    Settings settings = read(LEAST.replace("method: lora", "method: " + list)).settings();
    String message =
        String.valueOf(assertThrows(PeftException.class, settings::methodConfig).getMessage());
    assertTrue(message.contains(expected) && message.contains("run.yaml: "), message);
  }

  @Test
  void filesThatAreNoConfigurationAreRefused() {
    assertTrue(problem("- a\n- b\n").contains("must hold 'key: value' lines"));
    assertTrue(problem(LEAST + "seed: 1\nseed: 2\n").contains("line 6"));
    assertTrue(problem(LEAST + "x: [1, 2\n").contains("run.yaml, line"));
    assertTrue(problem("").contains("must hold"));
    String message =
        String.valueOf(
            assertThrows(
                    PeftException.class, () -> Settings.read(temporary.resolve("missing.yaml")))
                .getMessage());
    assertTrue(message.contains("there is no configuration file"), message);
  }
}
