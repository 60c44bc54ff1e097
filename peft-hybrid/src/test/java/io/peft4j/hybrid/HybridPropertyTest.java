package io.peft4j.hybrid;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.peft4j.AdapterSet;
import io.peft4j.AdapterStateException;
import io.peft4j.MergeReport;
import io.peft4j.Peft;
import io.peft4j.PeftConfig;
import io.peft4j.PeftModel;
import io.peft4j.ia3.Ia3Config;
import io.peft4j.lora.LoraConfig;
import io.peft4j.testkit.TestNetwork;
import io.peft4j.vera.VeraConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.SortedMap;
import java.util.stream.Stream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;

/** Whatever a hybrid is made of. */
final class HybridPropertyTest {
  private static final String[] LAYERS = {
    "layers.0.mix",
    "layers.0.up",
    "layers.0.down",
    "layers.1.mix",
    "layers.1.up",
    "layers.1.down",
    "classifier"
  };

  @Provide
  Arbitrary<HybridConfig> hybrids() {
    Arbitrary<String[]> layers =
        Arbitraries.of(LAYERS).set().ofMinSize(1).ofMaxSize(4).map(s -> s.toArray(new String[0]));
    Arbitrary<PeftConfig> lora =
        layers.flatMap(
            targets ->
                Arbitraries.integers()
                    .between(1, 3)
                    .map(rank -> LoraConfig.builder().rank(rank).targetModules(targets).build()));
    Arbitrary<PeftConfig> vectors =
        layers.map(
            targets -> Ia3Config.builder().feedforwardModules().targetModules(targets).build());
    Arbitrary<PeftConfig> vera =
        layers.map(targets -> VeraConfig.builder().rank(4).targetModules(targets).build());
    Arbitrary<PeftConfig> parts = Arbitraries.oneOf(lora, vectors, vera);
    // One adapter acts on a join at a time.
    Arbitrary<Boolean> nudged = Arbitraries.of(true, false);
    return parts
        .list()
        .ofMinSize(1)
        .ofMaxSize(4)
        .flatMap(
            list ->
                nudged.map(
                    also -> {
                      HybridConfig.Builder hybrid = HybridConfig.builder();
                      if (also) {
                        hybrid.part("nudge", NudgeConfig.of("layers.1"));
                      }
                      for (int i = 0; i < list.size(); i++) {
                        hybrid.part("part-" + i, list.get(i));
                      }
                      return hybrid.build();
                    }));
  }

  private static float[] output(PeftModel model, TestNetwork network, AdapterSet set) {
    try (NDManager step = NDManager.newBaseManager("PyTorch")) {
      return model.with(set).forward(network.inputs(step)).head().toFloatArray();
    }
  }

  @Property(tries = 40)
  void mergedComputesTheSame(@ForAll("hybrids") HybridConfig config, @ForAll long seed) {
    try (TestNetwork network = TestNetwork.tiny();
        PeftModel model = Peft.wrap(network.block(), config)) {
      HybridPartsTest.randomise(model, "default", seed);
      AdapterSet all = AdapterSet.of("default");
      float[] before = output(model, network, all);
      MergeReport report = model.merge();
      assertEquals(config.parts().containsKey("nudge"), !report.live().isEmpty());
      assertEquals(config.parts().size(), report.folded().size() + report.live().size());
      float[] merged = output(model, network, all);
      float largest = 1;
      for (float value : before) {
        largest = Math.max(largest, Math.abs(value));
      }
      for (int i = 0; i < before.length; i++) {
        assertEquals(before[i], merged[i], 1e-5 * largest);
      }
      model.unmerge();
      assertArrayEquals(before, output(model, network, all));
    }
  }

  @Property(tries = 40)
  void savedAndLoadedHasTheSameBits(@ForAll("hybrids") HybridConfig config, @ForAll long seed)
      throws IOException {
    Path directory = Files.createTempDirectory("hybrid");
    try (TestNetwork network = TestNetwork.tiny();
        NDManager manager = NDManager.newBaseManager("PyTorch");
        PeftModel model = Peft.wrap(network.block(), config)) {
      HybridPartsTest.randomise(model, "default", seed);
      model.save(directory);
      model.loadAdapter("again", directory);
      SortedMap<String, NDArray> first = model.stateDict("default", manager);
      SortedMap<String, NDArray> second = model.stateDict("again", manager);
      assertEquals(first.keySet(), second.keySet());
      first.forEach(
          (key, array) ->
              assertArrayEquals(array.toFloatArray(), second.get(key).toFloatArray(), key));
      assertArrayEquals(
          output(model, network, AdapterSet.of("default")),
          output(model, network, AdapterSet.of("again")));
    } finally {
      try (Stream<Path> files = Files.walk(directory)) {
        for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
          Files.delete(file);
        }
      }
    }
  }

  @Property(tries = 40)
  void aPartSwitchedOffLeavesTheOthers(
      @ForAll("hybrids") HybridConfig config, @ForAll long seed, @ForAll int pick) {
    List<String> names = new ArrayList<>(config.parts().keySet());
    String off = names.remove(Math.floorMod(pick, names.size()));
    try (TestNetwork network = TestNetwork.tiny();
        NDManager manager = NDManager.newBaseManager("PyTorch");
        PeftModel model = Peft.wrap(network.block(), config)) {
      HybridPartsTest.randomise(model, "default", seed);
      AdapterSet rest = AdapterSet.none();
      AdapterSet alone = AdapterSet.none();
      for (String name : names) {
        model.addAdapter(name, config.part(name), model.stateDict("default/" + name, manager));
        rest = rest.and("default/" + name, 1);
        alone = alone.and(name, 1);
      }
      assertArrayEquals(output(model, network, alone), output(model, network, rest), off);
      AdapterStateException e =
          assertThrows(AdapterStateException.class, () -> model.with("default", "default/" + off));
      assertTrue(String.valueOf(e.getMessage()).contains(off));
    }
  }
}
