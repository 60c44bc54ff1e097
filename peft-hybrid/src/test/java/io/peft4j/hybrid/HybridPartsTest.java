package io.peft4j.hybrid;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.peft4j.AdapterCache;
import io.peft4j.AdapterSet;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.LayerDelta;
import io.peft4j.MergeReport;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.TrainableParameter;
import io.peft4j.ia3.Ia3Config;
import io.peft4j.lora.LoraBias;
import io.peft4j.lora.LoraConfig;
import io.peft4j.testkit.TestNetwork;
import io.peft4j.testkit.TinyNetwork;
import io.peft4j.torch.GradMode;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Parts of a hybrid, each by itself. */
final class HybridPartsTest {
  private static final LoraConfig LORA =
      LoraConfig.builder().rank(2).alpha(4).targetModules("mix", "up").build();
  private static final LoraConfig LIKE_LORA =
      LoraConfig.builder().rank(3).targetModules("up").build();
  private static final NudgeConfig NUDGE = NudgeConfig.of("layers.0", "layers.1");
  private static final Ia3Config VECTORS =
      Ia3Config.builder().feedforwardModules().targetModules("mix").build();
  private static final HybridConfig THREE =
      HybridConfig.builder()
          .part("task", LORA)
          .part("domain", NUDGE)
          .part("more", LIKE_LORA)
          .build();

  private NDManager manager;
  private TestNetwork network;
  private PeftModel model;

  @BeforeEach
  void open() {
    manager = NDManager.newBaseManager("PyTorch");
    network = TestNetwork.tiny();
    model = Peft.wrap(network.block(), THREE);
    randomise(model, "default", 1);
  }

  @AfterEach
  void close() {
    model.close();
    network.close();
    manager.close();
  }

  static void randomise(PeftModel model, String adapter, long seed) {
    Random random = new Random(seed);
    try (GradMode off = GradMode.off();
        NDManager noise = NDManager.newBaseManager("PyTorch")) {
      for (NDArray array : model.adapter(adapter).parameters().values()) {
        float[] values = new float[(int) array.getShape().size()];
        for (int i = 0; i < values.length; i++) {
          values[i] = (float) (0.3 * random.nextGaussian());
        }
        array.addi(noise.create(values, array.getShape()));
      }
    }
  }

  private float[] output(AdapterSet set) {
    try (NDManager step = manager.newSubManager()) {
      return model.with(set).forward(network.inputs(step)).head().toFloatArray();
    }
  }

  private float[] output(String... names) {
    return output(AdapterSet.of(names));
  }

  /** The same tensors in adapters of their own. */
  private void addHalves() {
    model.addAdapter("lora", LORA, model.stateDict("default/task", manager));
    model.addAdapter("nudge", NUDGE, model.stateDict("default/domain", manager));
    model.addAdapter("like", LIKE_LORA, model.stateDict("default/more", manager));
  }

  @Test
  void whatIsLeftWhenAPartIsSwitchedOffIsExactlyTheOthers() {
    addHalves();
    assertArrayEquals(output("lora", "nudge", "like"), output("default"));
    assertArrayEquals(output("lora", "like"), output("default/task+more"));
    assertArrayEquals(output("nudge"), output("default/domain"));
    assertArrayEquals(output("lora"), output("default/task"));
    assertArrayEquals(output("nudge", "like"), output("default/domain", "default/more"));
    model.setActiveAdapters("default/domain");
    try (NDManager step = manager.newSubManager()) {
      assertArrayEquals(output("nudge"), model.forward(network.inputs(step)).head().toFloatArray());
    }
    assertFalse(Arrays.equals(output("nudge"), output("default")));
  }

  @Test
  void rowsHaveTheNormsThatGoWithTheirOwnAdapters() {
    LoraConfig biases =
        LoraConfig.builder().rank(2).targetModules("mix").bias(LoraBias.ALL).build();
    model.addAdapter(
        "own", HybridConfig.builder().part("join", NUDGE).part("lora", biases).build());
    randomise(model, "own", 5);
    float[] own = output("own");
    float[] plain = output();
    int width = TinyNetwork.CLASSES;
    String[] rows = new String[own.length / width];
    Arrays.fill(rows, "own");
    rows[rows.length - 1] = AdapterSet.BASE;
    float[] mixed = output(AdapterSet.rows(rows));
    int last = own.length - width;
    assertArrayEquals(Arrays.copyOf(own, last), Arrays.copyOf(mixed, last), 1e-5f);
    assertArrayEquals(
        Arrays.copyOfRange(plain, last, plain.length),
        Arrays.copyOfRange(mixed, last, mixed.length),
        1e-5f);
  }

  @Test
  void whatStaysLiveActsInTheOrderOfTheParts() {
    Ia3Config scaled = Ia3Config.builder().feedforwardModules().targetModules("down").build();
    // A bias at a layer that has none cannot be merged, and keeps the vector before it live too.
    LoraConfig biased = LoraConfig.builder().rank(2).targetModules("down").loraBias(true).build();
    model.addAdapter(
        "own",
        HybridConfig.builder()
            .part("vector", scaled)
            .part("biased", biased)
            .part("folded", LIKE_LORA)
            .build());
    randomise(model, "own", 7);
    float[] before = output("own");
    MergeReport report = model.merge(AdapterSet.of("own"), true);
    assertEquals(List.of("own/folded"), report.folded());
    assertArrayEquals(before, output("own"), 1e-5f);
  }

  @Test
  void aStrengthHoldsForAllParts() {
    addHalves();
    assertArrayEquals(
        output(AdapterSet.none().and("lora", 0.5).and("nudge", 0.5).and("like", 0.5)),
        output(AdapterSet.none().and("default", 0.5)));
  }

  @Test
  void rowsNamePartsToo() {
    float[] whole = output("default");
    float[] task = output("default/task");
    float[] two = output("default/domain+more");
    float[] base = output();
    float[] mixed =
        output(AdapterSet.rows("default/task", "default", "__base__", "default/domain+more"));
    int width = whole.length / TestNetwork.ROWS;
    float[][] expected = {task, whole, base, two};
    for (int i = 0; i < mixed.length; i++) {
      assertEquals(expected[i / width][i], mixed[i], 1e-5);
    }
  }

  @Test
  void onePartIsTrained() {
    model.trainAdapters("default/domain");
    List<TrainableParameter> trained = model.trainableParameters();
    assertEquals(2, trained.size());
    for (TrainableParameter parameter : trained) {
      assertEquals("default", parameter.adapter());
      assertTrue(parameter.name().startsWith("nudge_weights.domain.layers."), parameter.name());
    }
    model
        .adapter("default")
        .parameters()
        .forEach((key, array) -> assertEquals(key.startsWith("nudge"), array.hasGradient(), key));
    assertEquals(16, model.trainableParameterReport().trainable());
    model.trainAdapters("default/domain", "default");
    assertEquals(model.adapter("default").parameters().size(), model.trainableParameters().size());
  }

  @Test
  void whatCanBeMergedIsAndTheRestIsTold() {
    float[] before = output("default");
    float[] domain = output("default/domain");
    MergeReport report = model.merge();
    assertEquals(List.of("default/task", "default/more"), report.folded());
    assertEquals(List.of("default/domain"), List.copyOf(report.live().keySet()));
    assertTrue(String.valueOf(report.live().get("default/domain")).contains("layers.0, layers.1"));
    float[] merged = output("default");
    for (int i = 0; i < before.length; i++) {
      assertEquals(before[i], merged[i], 1e-5);
    }
    assertEquals(report, model.merge());
    assertArrayEquals(domain, output("default/domain"));
    model.unmerge();
    assertArrayEquals(before, output("default"));
    MergeReport one = model.merge(AdapterSet.of("default/task"), true);
    assertEquals(new MergeReport(List.of("default/task"), Map.of(), List.of()), one);
    AdapterStateException e =
        assertThrows(AdapterStateException.class, () -> model.deleteAdapter("default/task"));
    assertTrue(String.valueOf(e.getMessage()).contains("default/task"));
    model.deleteAdapter("default");
    assertTrue(model.mergedAdapters().isNone());
    assertTrue(model.activeAdapters().isNone());
  }

  @Test
  void whatActsBesideALivePartStaysToo() {
    // A bias of LoRA has no place where the layer has none; who shares a layer with it stays too.
    HybridConfig config =
        HybridConfig.builder()
            .part("first", LoraConfig.builder().loraBias(true).targetModules("down").build())
            .part("second", LoraConfig.builder().targetModules("down", "mix").build())
            .part("third", LoraConfig.builder().targetModules("mix").build())
            .part("fourth", LoraConfig.builder().targetModules("classifier").build())
            .build();
    model.addAdapter("mixed", config);
    randomise(model, "mixed", 3);
    float[] before = output("mixed");
    MergeReport report = model.merge(AdapterSet.of("mixed"), true);
    assertEquals(List.of("mixed/fourth"), report.folded());
    assertEquals(
        List.of("mixed/first", "mixed/second", "mixed/third"), List.copyOf(report.live().keySet()));
    float[] after = output("mixed");
    for (int i = 0; i < before.length; i++) {
      assertEquals(before[i], after[i], 1e-5);
    }
  }

  @Test
  void partsThatCannotActTogetherAreRefused() {
    LoraConfig head = LoraConfig.builder().targetModules("mix").modulesToSave("classifier").build();
    HybridConfig config = HybridConfig.builder().part("one", head).part("other", head).build();
    InvalidConfigException e =
        assertThrows(InvalidConfigException.class, () -> model.addAdapter("two-heads", config));
    assertTrue(String.valueOf(e.getMessage()).contains("'one' and 'other'"), e.getMessage());
    assertEquals(List.of("default"), model.adapterNames());
  }

  @Test
  void namesThatMeanNothingAreRefused() {
    assertThrows(AdapterStateException.class, () -> model.with("default/missing"));
    assertThrows(AdapterStateException.class, () -> model.with("default", "default/task"));
    assertThrows(AdapterStateException.class, () -> model.trainAdapters("default/missing"));
    assertThrows(InvalidConfigException.class, () -> model.with("default/"));
    assertThrows(InvalidConfigException.class, () -> model.with("default/task+task"));
    assertThrows(InvalidConfigException.class, () -> model.with("/task"));
    assertThrows(InvalidConfigException.class, () -> model.with("default/../task"));
    assertThrows(InvalidConfigException.class, () -> model.addAdapter("a/b", VECTORS));
    model.addAdapter("plain", VECTORS);
    assertThrows(AdapterStateException.class, () -> model.with("plain/task"));
  }

  @Test
  void reportsSayWhichPartActs() {
    assertTrue(
        model.layerReport("default").stream()
            .anyMatch(l -> l.path().equals("layers.0") && l.effect().equals("domain: nudge")));
    assertEquals(2, model.layerReport("default/domain").size());
  }

  @Test
  void wholesAndPartsAreCopied() {
    model.copyAdapter("default", "copy");
    model.copyAdapter("default/task", "alone");
    assertArrayEquals(output("default"), output("copy"));
    assertArrayEquals(output("default/domain"), output("copy/domain"));
    assertArrayEquals(output("default/task"), output("alone"));
    model.deleteAdapter("default");
    assertEquals(List.of("copy", "alone"), model.adapterNames());
  }

  @Test
  void whatAHybridAddsToWeightsIsTheSumOfItsParts() {
    List<LayerDelta> task = model.layerDeltas("default/task");
    List<LayerDelta> more = model.layerDeltas("default/more");
    List<LayerDelta> all = model.layerDeltas("default");
    assertEquals(
        List.of("layers.0.mix", "layers.0.up", "layers.1.mix", "layers.1.up"),
        all.stream().map(LayerDelta::path).toList());
    assertEquals(task.get(0), all.get(0));
    // Both act there; their sum is no longer than both together, nor shorter than the difference.
    assertTrue(all.get(1).norm() < task.get(1).norm() + more.get(0).norm() + 1e-5);
    assertTrue(all.get(1).norm() > Math.abs(task.get(1).norm() - more.get(0).norm()) - 1e-5);
    assertTrue(model.layerDeltas("default/domain").isEmpty());
  }

  @Test
  void manyRowsOfHybridsAreComputedTogether() {
    model.copyAdapter("default", "second");
    randomise(model, "second", 8);
    model.copyAdapter("default", "third");
    randomise(model, "third", 9);
    float[][] expected = {output("second"), output("third"), output("default"), output()};
    float[] mixed = output(AdapterSet.rows("second", "third", "default", "__base__"));
    int width = mixed.length / TestNetwork.ROWS;
    for (int i = 0; i < mixed.length; i++) {
      assertEquals(expected[i / width][i], mixed[i], 1e-5);
    }
  }

  @Test
  void aCacheServesHybridsAndTheirParts(@TempDir Path directory) {
    float[] whole = output("default");
    float[] task = output("default/task");
    model.saveAs("default", directory);
    model.deleteAdapter("default");
    try (AdapterCache cache = model.cache(0)) {
      cache.register("saved", directory);
      try (NDManager step = manager.newSubManager()) {
        assertArrayEquals(
            whole, cache.with("saved").forward(network.inputs(step)).head().toFloatArray());
        assertArrayEquals(
            task, cache.with("saved/task").forward(network.inputs(step)).head().toFloatArray());
      }
    }
  }
}
