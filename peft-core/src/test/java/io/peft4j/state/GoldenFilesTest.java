package io.peft4j.state;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.MalformedFileException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Files that the Rust library wrote: same values read, same bytes written. */
class GoldenFilesTest {
  static final Path GOLDEN = Path.of(System.getProperty("peft4j.golden"));
  private static final Path DIRECTORY = GOLDEN.resolve("safetensors");

  @TempDir Path directory;

  static Stream<JsonNode> files() {
    return StreamSupport.stream(
        Json.readObject(DIRECTORY.resolve("manifest.json")).get("files").spliterator(), false);
  }

  private static Map<String, String> metadata(JsonNode file) {
    Map<String, String> metadata = new LinkedHashMap<>();
    file.get("metadata").properties().forEach(e -> metadata.put(e.getKey(), e.getValue().asText()));
    return metadata;
  }

  @ParameterizedTest
  @MethodSource("files")
  void readsTheValues(JsonNode file) {
    try (SafeTensors tensors = SafeTensors.open(DIRECTORY.resolve(file.get("file").asText()));
        NDManager manager = NDManager.newBaseManager(Device.cpu(), "PyTorch")) {
      List<String> order = new ArrayList<>();
      file.get("file_order").forEach(name -> order.add(name.asText()));
      assertEquals(order, List.copyOf(tensors.names()));
      assertEquals(metadata(file), tensors.metadata());
      for (JsonNode tensor : file.get("tensors")) {
        String name = tensor.get("name").asText();
        TensorInfo info = tensors.info(name);
        assertEquals(tensor.get("dtype").asText(), info.type().name());
        long[] shape =
            StreamSupport.stream(tensor.get("shape").spliterator(), false)
                .mapToLong(JsonNode::asLong)
                .toArray();
        assertEquals(new Shape(shape), info.shape());
        if (tensor.has("hex")) {
          assertArrayEquals(
              HexFormat.of().parseHex(tensor.get("hex").asText()),
              RawFiles.copy(tensors.buffer(name)));
        } else {
          checkValues(tensors, info, tensor.get("values"), manager);
        }
      }
    }
  }

  private static void checkValues(
      SafeTensors tensors, TensorInfo info, JsonNode values, NDManager manager) {
    ByteBuffer bytes = tensors.buffer(info.name());
    assertEquals(values.size(), info.elements());
    NDArray array =
        info.type().dataType().isPresent()
            ? tensors.array(manager, info.name())
            : info.type().isFloat32Readable() ? tensors.float32(manager, info.name()) : null;
    if (array == null) {
      assertThrows(MalformedFileException.class, () -> tensors.array(manager, info.name()));
    } else {
      assertEquals(info.shape(), array.getShape());
    }
    for (int i = 0; i < values.size(); i++) {
      switch (info.type()) {
        case F64, F32, F16, BF16 -> {
          double expected = Double.parseDouble(values.get(i).asText());
          float[] floats = tensors.float32(manager, info.name()).toFloatArray();
          assertEquals((float) expected, floats[i], info.name());
          if (info.type() == TensorType.F64) {
            assertEquals(expected, array.toDoubleArray()[i]);
          }
        }
        case I64 -> assertEquals(values.get(i).asLong(), array.toLongArray()[i]);
        case I32 -> assertEquals(values.get(i).asInt(), array.toIntArray()[i]);
        case I16 -> assertEquals(values.get(i).asInt(), bytes.getShort());
        case I8, BOOL -> assertEquals(values.get(i).asInt(), array.toByteArray()[i]);
        case U8 -> assertEquals(values.get(i).asInt(), array.toByteArray()[i] & 0xff);
        default -> throw new AssertionError("no check for " + info.type());
      }
    }
  }

  @ParameterizedTest
  @MethodSource("files")
  void writesTheSameBytes(JsonNode file) throws IOException {
    Path original = DIRECTORY.resolve(file.get("file").asText());
    Path copy = directory.resolve("copy.safetensors");
    try (SafeTensors tensors = SafeTensors.open(original);
        NDManager manager = NDManager.newBaseManager(Device.cpu(), "PyTorch")) {
      List<SafeTensorsWriter.Entry> raw = new ArrayList<>();
      List<SafeTensorsWriter.Entry> arrays = new ArrayList<>();
      for (String name : tensors.names()) {
        TensorInfo info = tensors.info(name);
        raw.add(SafeTensorsWriter.Entry.of(tensors, name));
        arrays.add(
            info.type().dataType().isPresent()
                ? SafeTensorsWriter.Entry.of(name, tensors.array(manager, name))
                : info.type() == TensorType.BF16
                    ? SafeTensorsWriter.Entry.of(
                        name, tensors.float32(manager, name), TensorType.BF16)
                    : SafeTensorsWriter.Entry.of(
                        name, info.type(), info.shape(), tensors.buffer(name)));
      }
      for (List<SafeTensorsWriter.Entry> entries : List.of(raw, arrays)) {
        Collections.shuffle(entries, new Random(5));
        SafeTensorsWriter.write(copy, entries, metadata(file));
        assertArrayEquals(Files.readAllBytes(original), Files.readAllBytes(copy));
      }
    }
  }

  static Stream<Path> saved() throws IOException {
    List<Path> found = new ArrayList<>();
    for (String kind : List.of("models", "adapters")) {
      try (Stream<Path> walk = Files.walk(GOLDEN.resolve(kind), 3)) {
        walk.filter(f -> f.getFileName().toString().matches("(adapter_)?model.*\\.safetensors"))
            .sorted()
            .limit(20)
            .forEach(found::add);
      }
    }
    assertFalse(found.isEmpty());
    return found.stream();
  }

  /** Models and adapters that transformers and PEFT saved. */
  @ParameterizedTest
  @MethodSource("saved")
  void rewritesSavedModels(Path original) throws IOException {
    Path copy = directory.resolve("copy.safetensors");
    try (SafeTensors tensors = SafeTensors.open(original)) {
      List<SafeTensorsWriter.Entry> entries = new ArrayList<>();
      tensors.names().forEach(n -> entries.add(SafeTensorsWriter.Entry.of(tensors, n)));
      Collections.reverse(entries);
      SafeTensorsWriter.write(copy, entries, tensors.metadata());
    }
    assertEquals(-1, Files.mismatch(original, copy));
  }

  /** A model that transformers saved in shards. */
  static Stream<Path> sharded() throws IOException {
    List<Path> found = new ArrayList<>();
    try (Stream<Path> walk = Files.walk(GOLDEN.resolve("models"), 2)) {
      walk.filter(f -> f.endsWith("model.safetensors.index.json"))
          .forEach(f -> found.add(f.getParent()));
    }
    assertFalse(found.isEmpty());
    return found.stream();
  }

  @ParameterizedTest
  @MethodSource("sharded")
  void rewritesSavedShards(Path original) throws IOException {
    try (Checkpoint checkpoint = Checkpoint.open(original)) {
      // transformers fills shards in the order of the state dict; any order that puts the first
      // shard's tensors first gives the same split for a size that just holds the first shard.
      JsonNode map =
          Json.readObject(original.resolve("model.safetensors.index.json")).get("weight_map");
      List<SafeTensorsWriter.Entry> entries = new ArrayList<>();
      long largest = 0;
      for (Path shard : checkpoint.files()) {
        long size = 0;
        for (String name : checkpoint.names()) {
          if (map.get(name).asText().equals(shard.getFileName().toString())) {
            entries.add(SafeTensorsWriter.Entry.of(checkpoint, name));
            size += checkpoint.info(name).bytes();
          }
        }
        largest = Math.max(largest, size);
      }
      List<Path> written =
          CheckpointWriter.write(directory, entries, checkpoint.metadata(), largest);
      assertEquals(checkpoint.files().size(), written.size());
    }
    try (Stream<Path> files = Files.list(directory)) {
      for (Path file : files.toList()) {
        assertEquals(
            -1, Files.mismatch(original.resolve(file.getFileName()), file), file.toString());
      }
    }
  }
}
