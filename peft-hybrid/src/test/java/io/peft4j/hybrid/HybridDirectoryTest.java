package io.peft4j.hybrid;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.peft4j.AdapterStateException;
import io.peft4j.MalformedFileException;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.ia3.Ia3Config;
import io.peft4j.lora.LoraConfig;
import io.peft4j.spi.PeftMethods;
import io.peft4j.state.SavedAdapter;
import io.peft4j.testkit.TestNetwork;
import io.peft4j.vera.VeraConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Hybrids in files. */
final class HybridDirectoryTest {
  private static final HybridConfig CONFIG =
      HybridConfig.builder()
          .part("task", LoraConfig.builder().rank(2).targetModules("mix", "up").build())
          .part("gains", Ia3Config.builder().feedforwardModules().targetModules("mix").build())
          .part("shared", VeraConfig.builder().rank(4).targetModules("mix").build())
          .build();

  @TempDir Path directory;
  private NDManager manager;
  private TestNetwork network;
  private PeftModel model;

  @BeforeEach
  void open() {
    manager = NDManager.newBaseManager("PyTorch");
    network = TestNetwork.tiny();
    model = Peft.wrap(network.block(), CONFIG);
    HybridPartsTest.randomise(model, "default", 5);
  }

  @AfterEach
  void close() {
    model.close();
    network.close();
    manager.close();
  }

  private static SortedMap<String, float[]> values(SortedMap<String, NDArray> tensors) {
    SortedMap<String, float[]> values = new TreeMap<>();
    tensors.forEach((key, array) -> values.put(key, array.toFloatArray()));
    return values;
  }

  private void assertSameState(String expected, PeftModel other, String name) {
    SortedMap<String, float[]> first = values(model.stateDict(expected, manager));
    SortedMap<String, float[]> second = values(other.stateDict(name, manager));
    assertEquals(first.keySet(), second.keySet());
    first.forEach((key, value) -> assertArrayEquals(value, second.get(key), key));
  }

  @Test
  void theDirectoryHasAPlaceForEachPart() throws IOException {
    model.save(directory);
    Set<String> files = new TreeSet<>();
    try (Stream<Path> tree = Files.walk(directory)) {
      tree.filter(Files::isRegularFile)
          .forEach(file -> files.add(directory.relativize(file).toString().replace('\\', '/')));
    }
    assertEquals(
        Set.of(
            "hybrid_config.json",
            "task/adapter_config.json",
            "task/adapter_model.safetensors",
            "gains/adapter_config.json",
            "gains/adapter_model.safetensors",
            "shared/adapter_config.json",
            "shared/adapter_model.safetensors"),
        files);
    try (SavedAdapter saved = PeftMethods.of(directory).read(directory)) {
      assertEquals(model.stateDict("default", manager).keySet(), saved.keys());
    }
    for (String part : CONFIG.parts().keySet()) {
      model.loadAdapter("alone-" + part, directory.resolve(part));
      assertSameState("default/" + part, model, "alone-" + part);
    }
  }

  @Test
  void keysLieInNamespaces() {
    Set<String> keys = model.stateDict("default", manager).keySet();
    assertTrue(keys.contains("lora_weights.task.layers.0.mix.lora_A.weight"), keys.toString());
    assertTrue(keys.contains("ia3_weights.gains.layers.0.mix.ia3_l"), keys.toString());
    assertTrue(keys.contains("vera_weights.shared.base_model.vera_A"), keys.toString());
    assertTrue(keys.contains("vera_weights.shared.layers.0.mix.vera_lambda_b"), keys.toString());
  }

  @Test
  void whatIsSavedAgainHasTheSameBits() {
    model.save(directory);
    model.loadAdapter("again", directory);
    assertSameState("default", model, "again");
  }

  @Test
  void partsAreSavedAloneWhereTheWholeWouldBe() {
    model.save(directory, "default/task+gains");
    model.loadAdapter("task", directory.resolve("task"));
    assertSameState("default/task", model, "task");
    assertTrue(Files.isDirectory(directory.resolve("gains")));
    assertTrue(Files.notExists(directory.resolve("hybrid_config.json")));
  }

  @Test
  void anotherAdapterDoesNotOverwriteAPart() {
    model.addAdapter("task", LoraConfig.builder().targetModules("mix").build());
    model.addAdapter("beside", LoraConfig.builder().targetModules("mix").build());
    AdapterStateException e =
        assertThrows(AdapterStateException.class, () -> model.save(directory));
    assertTrue(String.valueOf(e.getMessage()).contains("'task'"), e.getMessage());
    model.save(directory, "default", "beside");
    model.loadAdapter("again", directory);
    assertSameState("default", model, "again");
  }

  private void assertMalformed(String... words) {
    MalformedFileException e =
        assertThrows(MalformedFileException.class, () -> model.loadAdapter("bad", directory));
    for (String word : words) {
      assertTrue(String.valueOf(e.getMessage()).contains(word), e.getMessage());
    }
  }

  private void config(String text) throws IOException {
    Files.writeString(directory.resolve("hybrid_config.json"), text.replace('\'', '"'));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "../task",
        "..",
        ".",
        "",
        "/tmp",
        "task/../task",
        "..\\\\task",
        "__base__",
        "task\\u0000"
      })
  void pathsAreNoNames(String name) throws IOException {
    model.save(directory);
    config(
        "{'peft_type':'HYBRID','format_version':1,'parts':[{'name':'"
            + name
            + "','peft_type':'LORA'}]}");
    assertMalformed("hybrid_config.json", "name");
  }

  @Test
  void damagedDirectories() throws IOException {
    model.save(directory);
    String task = "{'name':'task','peft_type':'LORA'}";
    config("{'peft_type':'HYBRID','format_version':1,'parts':[" + task + "," + task + "]}");
    assertMalformed("'task'");
    config(
        "{'peft_type':'HYBRID','format_version':1,'parts':["
            + task
            + ",{'name':'missing','peft_type':'LORA'}]}");
    assertMalformed("missing");
    config(
        "{'peft_type':'HYBRID','format_version':1,'parts':[{'name':'gains','peft_type':'LORA'}]}");
    assertMalformed("gains", "LORA");
    config("{'peft_type':'HYBRID','format_version':7,'parts':[" + task + "]}");
    assertMalformed("format_version", "7");
    config("{'peft_type':'HYBRID','format_version':1,'parts':[" + task + "]");
    assertMalformed("hybrid_config.json");
    config("[]");
    assertMalformed("hybrid_config.json");
    config("{'peft_type':'HYBRID','format_version':1,'parts':[" + task + "]}");
    model.loadAdapter("part-of-it", directory);
    assertEquals(
        model.stateDict("default/task", manager).size(),
        model.stateDict("part-of-it", manager).size());
  }

  @Test
  void aDirectoryOfTwoMethodsIsRefused() throws IOException {
    model.save(directory);
    Files.copy(
        directory.resolve("task").resolve("adapter_config.json"),
        directory.resolve("adapter_config.json"));
    assertMalformed("HYBRID", "LORA");
  }

  @Test
  void partsAreNoLinks() throws IOException {
    model.save(directory);
    Path elsewhere = directory.resolve("elsewhere");
    Files.move(directory.resolve("task"), elsewhere);
    Files.createSymbolicLink(directory.resolve("task"), elsewhere);
    assertMalformed("task");
  }

  @Test
  void damagedTensorsOfAPart() throws IOException {
    model.save(directory);
    Path file = directory.resolve("task").resolve("adapter_model.safetensors");
    byte[] bytes = Files.readAllBytes(file);
    Files.write(file, java.util.Arrays.copyOf(bytes, bytes.length - 1));
    assertMalformed("adapter_model.safetensors");
    Files.copy(
        directory.resolve("gains").resolve("adapter_model.safetensors"),
        file,
        java.nio.file.StandardCopyOption.REPLACE_EXISTING);
    AdapterStateException e =
        assertThrows(AdapterStateException.class, () -> model.loadAdapter("bad", directory));
    assertTrue(String.valueOf(e.getMessage()).contains("lora_weights.task."), e.getMessage());
  }
}
