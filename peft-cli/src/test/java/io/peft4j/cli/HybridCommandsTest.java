package io.peft4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.hybrid.HybridConfig;
import io.peft4j.ia3.Ia3Config;
import io.peft4j.lora.LoraConfig;
import io.peft4j.models.PretrainedModel;
import io.peft4j.state.SafeTensorsWriter;
import io.peft4j.torch.GradMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Hybrid directories on the command line. */
final class HybridCommandsTest {
  private static final Path LLAMA = Cli.model("llama");

  @TempDir private static Path work;
  @TempDir private Path fresh;

  private static Path hybrid() {
    return work.resolve("hybrid");
  }

  /** A hybrid with what it computes, whole and its first part alone. */
  @BeforeAll
  static void make() {
    HybridConfig config =
        HybridConfig.builder()
            .part("task", LoraConfig.builder().rank(2).targetModules("q_proj", "v_proj").build())
            .part("gains", Ia3Config.builder().build())
            .part(
                "stays",
                LoraConfig.builder().rank(2).loraBias(true).targetModules("o_proj").build())
            .build();
    try (PretrainedModel model = PretrainedModel.load(LLAMA, BaseFiles.FLOAT32);
        PeftModel adapted = Peft.wrap(model, config);
        NDManager manager = NDManager.newBaseManager("PyTorch")) {
      try (GradMode off = GradMode.off()) {
        int seed = 1;
        for (NDArray array : adapted.adapter("default").parameters().values()) {
          float[] values = new float[(int) array.getShape().size()];
          Random random = new Random(seed++);
          for (int i = 0; i < values.length; i++) {
            values[i] = (float) (0.1 * random.nextGaussian());
          }
          array.addi(manager.create(values, array.getShape()));
        }
      }
      adapted.save(hybrid());
      NDArray ids = manager.create(new long[][] {{1, 5, 9, 3}, {2, 7, 4, 8}});
      List<SafeTensorsWriter.Entry> entries = new ArrayList<>();
      ids.setName("input_ids");
      entries.add(SafeTensorsWriter.Entry.of("whole", adapted.forward(new NDList(ids)).head()));
      entries.add(
          SafeTensorsWriter.Entry.of(
              "task", adapted.with("default/task").forward(new NDList(ids)).head()));
      entries.add(SafeTensorsWriter.Entry.of("input_ids", ids));
      SafeTensorsWriter.write(work.resolve("io.safetensors"), entries, Map.of());
    }
  }

  private static Cli verify(Object base, String key, Object... more) {
    List<Object> args =
        new ArrayList<>(List.of("verify", "--base", base, "--io", work.resolve("io.safetensors")));
    args.addAll(List.of("--expect", key, "--tolerance", "1e-5"));
    args.addAll(List.of(more));
    return Cli.run(args.toArray());
  }

  @Test
  void hybridsAreVerifiedWholeAndByParts() {
    verify(LLAMA, "whole", "--adapter", hybrid()).succeeded();
    verify(LLAMA, "whole", "--adapter", hybrid(), "--merge").succeeded();
    verify(LLAMA, "task", "--adapter", hybrid(), "--active", "default/task").succeeded();
    verify(LLAMA, "task", "--adapter", hybrid().resolve("task")).succeeded();
    verify(LLAMA, "task", "--adapter", "h=" + hybrid(), "--rows", "h/task,h/task").succeeded();
    assertEquals(1, verify(LLAMA, "task", "--adapter", hybrid()).code());
    verify(LLAMA, "task", "--adapter", hybrid(), "--active", "default/none")
        .refused("has no part 'none'");
    verify(LLAMA, "task", "--adapter", hybrid(), "--active", "other/task").refused("other/task");
  }

  @Test
  void whatCannotBeMergedIsSavedBeside() {
    Path out = fresh.resolve("merged");
    Path rest = fresh.resolve("rest");
    Cli.run("merge", "--base", LLAMA, "--adapter", hybrid(), "--out", out)
        .refused("default/stays", "--live");
    assertFalse(Files.exists(out));
    Cli run =
        Cli.run(
                "merge",
                "--base",
                LLAMA,
                "--adapter",
                hybrid(),
                "--out",
                out,
                "--live",
                rest,
                "--dtype",
                "float32")
            .succeeded();
    assertTrue(run.out().startsWith("merged default/task, default/gains into "), run.out());
    assertTrue(run.out().contains("live: default/stays in "), run.out());
    verify(out, "whole", "--adapter", rest.resolve("stays")).succeeded();
    Path task = fresh.resolve("task");
    Cli.run(
            "merge",
            "--base",
            LLAMA,
            "--adapter",
            hybrid(),
            "--active",
            "default/task",
            "--out",
            task,
            "--dtype",
            "float32")
        .succeeded();
    verify(task, "task").succeeded();
  }

  @Test
  void hybridsAreInspected() {
    Cli run = Cli.run("inspect", "--base", LLAMA, "--config", hybrid()).succeeded();
    assertTrue(run.out().contains("HYBRID of task, gains, stays"), run.out());
    assertTrue(run.out().contains("task: LoRA r=2"), run.out());
    assertTrue(run.out().contains("gains: IA3 ia3_l"), run.out());
    Cli part =
        Cli.run("inspect", "--base", LLAMA, "--config", hybrid().resolve("gains")).succeeded();
    assertTrue(part.out().contains("IA3 ia3_l"), part.out());
  }
}
