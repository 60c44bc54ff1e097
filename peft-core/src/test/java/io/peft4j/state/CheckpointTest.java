package io.peft4j.state;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.Device;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftException;
import io.peft4j.state.SafeTensorsWriter.Entry;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class CheckpointTest {
  private static final Map<String, String> PT = Map.of("format", "pt");

  @TempDir Path directory;

  private static Entry floats(String name, float... values) {
    return Entry.of(
        name, TensorType.F32, new Shape(values.length), ByteBuffer.wrap(RawFiles.floats(values)));
  }

  private void shard(String file, Entry... entries) {
    SafeTensorsWriter.write(directory.resolve(file), List.of(entries), PT);
  }

  private void index(String weightMap) {
    AtomicFiles.writeString(
        directory.resolve("model.safetensors.index.json"),
        "{\"metadata\":{\"total_size\":1},\"weight_map\":" + weightMap + "}");
  }

  private Set<String> listing() throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files
          .map(f -> f.getFileName().toString())
          .collect(java.util.stream.Collectors.toCollection(java.util.TreeSet::new));
    }
  }

  private MalformedFileException refused(Path path, String... parts) {
    MalformedFileException e =
        assertThrows(MalformedFileException.class, () -> Checkpoint.open(path));
    for (String part : parts) {
      assertTrue(e.getMessage().contains(part), e.getMessage());
    }
    return e;
  }

  @Test
  void readsOneFile() {
    shard("model.safetensors", floats("a", 1, 2));
    for (Path path : List.of(directory, directory.resolve("model.safetensors"))) {
      try (Checkpoint checkpoint = Checkpoint.open(path)) {
        assertEquals(Set.of("a"), checkpoint.names());
        assertEquals(PT, checkpoint.metadata());
        assertEquals(2f, checkpoint.buffer("a").getFloat(4));
      }
    }
  }

  @Test
  void readsShards() {
    shard("x-1.safetensors", floats("a", 1), floats("b", 2));
    shard("x-2.safetensors", floats("c", 3), floats("extra", 4));
    index("{\"c\":\"x-2.safetensors\",\"a\":\"x-1.safetensors\",\"b\":\"x-1.safetensors\"}");
    Checkpoint checkpoint = Checkpoint.open(directory);
    try (NDManager manager = NDManager.newBaseManager(Device.cpu(), "PyTorch")) {
      assertEquals(List.of("a", "b", "c", "extra"), List.copyOf(checkpoint.names()));
      assertEquals(2, checkpoint.files().size());
      assertEquals(PT, checkpoint.metadata());
      assertEquals(3f, checkpoint.buffer("c").getFloat());
      assertEquals(1, checkpoint.buffer("c", 0, 1).remaining());
      assertEquals(TensorType.F32, checkpoint.info("b").type());
      assertArrayEquals(new float[] {1}, checkpoint.array(manager, "a").toFloatArray());
      assertArrayEquals(new float[] {2}, checkpoint.float32(manager, "b").toFloatArray());
      assertArrayEquals(new float[] {4}, checkpoint.float32Copy(manager, "extra").toFloatArray());
      MalformedFileException e =
          assertThrows(MalformedFileException.class, () -> checkpoint.info("none"));
      assertTrue(e.getMessage().contains("'none'"), e.getMessage());
      checkpoint.close();
      assertThrows(AdapterStateException.class, () -> checkpoint.buffer("a"));
      assertThrows(AdapterStateException.class, () -> checkpoint.buffer("c"));
    }
    Checkpoint.open(directory.resolve("model.safetensors.index.json")).close();
  }

  @Test
  void readsFilesOfAnotherName() {
    shard("adapter_model.safetensors", floats("a", 1));
    refused(directory, "model.safetensors", "model.safetensors.index.json");
    Checkpoint.open(directory, "adapter_model").close();
  }

  @Test
  void namesWhatIsMissing() {
    refused(directory, directory.toString(), "has neither");
    refused(directory.resolve("nowhere"), "there is no such file");
    index("{\"a\":\"gone.safetensors\"}");
    refused(directory, "'gone.safetensors'", "missing");
    shard("gone.safetensors", floats("b", 1));
    refused(directory, "'a'", "listed in gone.safetensors");
  }

  @Test
  void refusesATensorInTwoShards() {
    shard("x-1.safetensors", floats("a", 1), floats("b", 2));
    shard("x-2.safetensors", floats("b", 3));
    index("{\"a\":\"x-1.safetensors\",\"b\":\"x-2.safetensors\"}");
    refused(directory, "'b'", "two shards", "x-1.safetensors", "x-2.safetensors");
  }

  @Test
  void refusesATensorInAnotherShardThanListed() {
    shard("x-1.safetensors", floats("a", 1));
    shard("x-2.safetensors", floats("b", 3));
    index("{\"a\":\"x-2.safetensors\",\"b\":\"x-1.safetensors\"}");
    refused(directory, "listed in", "not there");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "\"../secret.safetensors\"",
        "\"/etc/secret.safetensors\"",
        "\"sub/x.safetensors\"",
        "\"..\\\\x.safetensors\"",
        "\"C:x.safetensors\"",
        "\"x.safetensors\\u0000\"",
        "\"\\u0000.safetensors\"",
        "\".safetensors\"",
        "\"..safetensors\"",
        "\"pytorch_model.bin\"",
        "\"\"",
        "1",
        "null",
        "{}"
      })
  void refusesShardsThatAreNoFilesBesideTheIndex(String shard) throws IOException {
    Path sub = Files.createDirectory(directory.resolve("model"));
    SafeTensorsWriter.write(directory.resolve("secret.safetensors"), List.of(floats("a", 1)), PT);
    AtomicFiles.writeString(
        sub.resolve("model.safetensors.index.json"), "{\"weight_map\":{\"a\":" + shard + "}}");
    refused(sub, "'a'", "beside the index");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"{}", "{\"weight_map\":[]}", "[]", "{\"weight_map\":{},\"weight_map\":{}}", "x"})
  void refusesIndexesThatAreNone(String text) {
    AtomicFiles.writeString(directory.resolve("model.safetensors.index.json"), text);
    refused(directory, "model.safetensors.index.json");
  }

  @Test
  void refusesADamagedShard() {
    shard("x-1.safetensors", floats("a", 1));
    RawFiles.write(directory.resolve("x-2.safetensors"), new byte[20]);
    index("{\"a\":\"x-1.safetensors\",\"b\":\"x-2.safetensors\"}");
    refused(directory, "x-2.safetensors");
  }

  @ParameterizedTest
  @ValueSource(strings = {"pytorch_model.bin", "pytorch_model.bin.index.json"})
  void saysHowToConvertADirectoryOfPickles(String name) {
    RawFiles.write(directory.resolve(name), new byte[100]);
    refused(directory, "pickle", "torch.load('pytorch_model.bin'", "'model.safetensors'");
  }

  @Test
  void writesOneFileIfItFits() throws IOException {
    index("{}");
    shard("model-00001-of-00003.safetensors", floats("old", 1));
    AtomicFiles.writeString(directory.resolve("config.json"), "{}");
    List<Path> files =
        CheckpointWriter.write(directory, List.of(floats("a", 1), floats("b", 2)), PT, 8);
    assertEquals(List.of(directory.resolve("model.safetensors")), files);
    assertEquals(Set.of("config.json", "model.safetensors"), listing());
    CheckpointWriter.write(directory, List.of(), PT, 8);
    assertEquals(Set.of("config.json", "model.safetensors"), listing());
  }

  @Test
  void fillsShardsInOrder() throws IOException {
    shard("model.safetensors", floats("old", 1));
    List<Entry> entries =
        List.of(
            floats("c", 1),
            floats("large", 1, 2, 3),
            floats("a", 2),
            floats("b", 3),
            Entry.of("h", TensorType.BF16, new Shape(1), ByteBuffer.allocate(2)));
    CheckpointWriter.write(directory, entries, PT, 8);
    assertEquals(
        Set.of(
            "model-00001-of-00003.safetensors",
            "model-00002-of-00003.safetensors",
            "model-00003-of-00003.safetensors",
            "model.safetensors.index.json"),
        listing());
    // What transformers writes for the same tensors and size.
    assertEquals(
        """
        {
          "metadata": {
            "total_parameters": 7,
            "total_size": 26
          },
          "weight_map": {
            "a": "model-00002-of-00003.safetensors",
            "b": "model-00003-of-00003.safetensors",
            "c": "model-00002-of-00003.safetensors",
            "h": "model-00003-of-00003.safetensors",
            "large": "model-00001-of-00003.safetensors"
          }
        }
        """,
        Files.readString(directory.resolve("model.safetensors.index.json")));
    try (Checkpoint checkpoint = Checkpoint.open(directory)) {
      assertEquals(3f, checkpoint.buffer("b").getFloat());
      assertEquals(3f, checkpoint.buffer("large").getFloat(8));
    }
  }

  @Test
  void aFailedSaveLeavesTheEarlierOne() throws IOException {
    CheckpointWriter.write(directory, List.of(floats("a", 1), floats("b", 2)), PT, 4);
    Set<String> before = listing();
    List<Entry> failing = new ArrayList<>(List.of(floats("a", 9), floats("b", 9)));
    failing.add(
        new Entry(
            "c",
            TensorType.U8,
            new Shape(1),
            s -> {
              throw new IOException("disk full");
            }));
    assertThrows(PeftException.class, () -> CheckpointWriter.write(directory, failing, PT, 4));
    assertThrows(
        PeftException.class,
        () -> CheckpointWriter.write(directory, List.of(floats("a", 9), floats("a", 9)), PT, 4));
    assertEquals(before, listing());
    try (Checkpoint checkpoint = Checkpoint.open(directory)) {
      assertEquals(1f, checkpoint.buffer("a").getFloat());
      assertFalse(checkpoint.contains("c"));
    }
  }

  @Test
  void replacesTheCheckpointThatItReads() throws IOException {
    CheckpointWriter.write(directory, List.of(floats("a", 1), floats("b", 2)), PT, 4);
    try (Checkpoint old = Checkpoint.open(directory)) {
      CheckpointWriter.write(directory, List.of(Entry.of(old, "a"), Entry.of(old, "b")), PT, 100);
    }
    assertEquals(Set.of("model.safetensors"), listing());
  }

  @ParameterizedTest
  @CsvSource({
    "1, 1",
    "5GB, 5000000000",
    "5 gb, 5000000000",
    "1.5KB, 1500",
    "2TB, 2000000000000",
    "7B, 7",
    "10MB, 10000000"
  })
  void parsesSizes(String text, long bytes) {
    assertEquals(bytes, CheckpointWriter.parseSize(text));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"", "0", "GB", "-1GB", "5GiB", "5 G", "1e9", "0.0001KB", "999999999999TB"})
  void refusesOtherSizes(String text) {
    assertThrows(InvalidConfigException.class, () -> CheckpointWriter.parseSize(text));
    assertThrows(
        InvalidConfigException.class, () -> CheckpointWriter.write(directory, List.of(), PT, 0));
  }
}
