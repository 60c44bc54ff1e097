package io.peft4j.state;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.PeftException;
import io.peft4j.state.SafeTensorsWriter.Entry;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SafeTensorsWriterTest {
  @TempDir Path directory;
  private NDManager manager;
  private Path file;

  @BeforeEach
  void open() {
    manager = NDManager.newBaseManager(Device.cpu(), "PyTorch");
    file = directory.resolve("x.safetensors");
  }

  @AfterEach
  void close() {
    manager.close();
  }

  private static Entry bytes(String name, int... values) {
    byte[] data = new byte[values.length];
    for (int i = 0; i < values.length; i++) {
      data[i] = (byte) values[i];
    }
    return Entry.of(name, TensorType.U8, new Shape(values.length), ByteBuffer.wrap(data));
  }

  @Test
  void convertsWhileWriting() {
    NDArray floats = manager.create(new float[] {1, -2, 0.1f, Float.NaN, 1e-8f, 70000});
    List<TensorType> types =
        List.of(TensorType.F64, TensorType.F32, TensorType.BF16, TensorType.F16);
    SafeTensorsWriter.write(
        file, types.stream().map(t -> Entry.of(t.name(), floats, t)).toList(), Map.of());
    assertEquals(1, manager.getManagedArrays().size());
    try (SafeTensors tensors = SafeTensors.open(file)) {
      assertArrayEquals(
          new float[] {1, -2, 0.1f, Float.NaN, 1e-8f, 70000},
          tensors.float32(manager, "F64").toFloatArray());
      assertArrayEquals(floats.toFloatArray(), tensors.float32(manager, "F32").toFloatArray());
      assertArrayEquals(
          new float[] {1, -2, 0.100097656f, Float.NaN, 1.0011718e-8f, 70144},
          tensors.float32(manager, "BF16").toFloatArray());
      assertArrayEquals(
          new float[] {1, -2, 0.099975586f, Float.NaN, 0, Float.POSITIVE_INFINITY},
          tensors.float32(manager, "F16").toFloatArray());
    }
  }

  @Test
  void writesArraysOfAnyLayoutAndType() {
    NDArray matrix = manager.arange(12f).reshape(3, 4);
    NDArray half = matrix.toType(DataType.FLOAT16, false);
    SafeTensorsWriter.write(
        file,
        List.of(
            Entry.of("transposed", matrix.transpose()),
            Entry.of("part", matrix.get(":, 1:3")),
            Entry.of("half", half),
            Entry.of("half as bf16", half, TensorType.BF16),
            Entry.of("scalar", manager.create(7L)),
            Entry.of("empty", manager.create(new Shape(0, 4))),
            Entry.of("bool", manager.create(new boolean[] {true, false}))),
        Map.of());
    try (SafeTensors tensors = SafeTensors.open(file)) {
      assertArrayEquals(
          new float[] {0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11},
          tensors.float32(manager, "transposed").toFloatArray());
      assertEquals(new Shape(4, 3), tensors.info("transposed").shape());
      assertArrayEquals(
          new float[] {1, 2, 5, 6, 9, 10}, tensors.float32(manager, "part").toFloatArray());
      assertArrayEquals(matrix.toFloatArray(), tensors.float32(manager, "half").toFloatArray());
      assertEquals(TensorType.F16, tensors.info("half").type());
      assertArrayEquals(
          matrix.toFloatArray(), tensors.float32(manager, "half as bf16").toFloatArray());
      assertEquals(7L, tensors.array(manager, "scalar").getLong());
      assertEquals(new Shape(0, 4), tensors.array(manager, "empty").getShape());
      assertArrayEquals(
          new boolean[] {true, false}, tensors.array(manager, "bool").toBooleanArray());
    }
  }

  @Test
  void convertsMoreThanOnePiece() {
    NDArray floats = manager.arange(1_200_000f);
    SafeTensorsWriter.write(file, List.of(Entry.of("f64", floats, TensorType.F64)), Map.of());
    try (SafeTensors tensors = SafeTensors.open(file)) {
      assertArrayEquals(floats.toFloatArray(), tensors.float32(manager, "f64").toFloatArray());
    }
  }

  @Test
  void takesBytesInSeveralCallsAndLeavesBuffersAsTheyWere() {
    ByteBuffer part = ByteBuffer.allocateDirect(8).put(3, (byte) 9).position(2).limit(4);
    Entry entry =
        new Entry(
            "a",
            TensorType.U8,
            new Shape(4),
            sink -> {
              sink.write(part);
              sink.write(ByteBuffer.wrap(new byte[0]));
              sink.write(manager.create(new byte[] {5, 6}).toType(DataType.UINT8, false));
            });
    SafeTensorsWriter.write(file, List.of(entry), Map.of());
    assertEquals(2, part.position());
    try (SafeTensors tensors = SafeTensors.open(file)) {
      assertArrayEquals(new byte[] {0, 9, 5, 6}, RawFiles.copy(tensors.buffer("a")));
    }
  }

  @Test
  void refusesWhatCannotBeWrittenAndLeavesTheOldFile() throws IOException {
    AtomicFiles.writeString(file, "old");
    Entry good = bytes("a", 1);
    List<List<Entry>> bad =
        List.of(
            List.of(good, bytes("a", 2)),
            List.of(bytes("__metadata__", 1)),
            List.of(bytes("\ud800", 1)),
            List.of(
                new Entry(
                    "few", TensorType.U8, new Shape(2), s -> s.write(ByteBuffer.allocate(1)))),
            List.of(
                new Entry(
                    "many", TensorType.U8, new Shape(1), s -> s.write(ByteBuffer.allocate(2)))),
            List.of(new Entry("minus", TensorType.U8, new Shape(-1), s -> {})),
            List.of(new Entry("half", TensorType.F4, new Shape(3), s -> {})),
            List.of(new Entry("huge", TensorType.U8, new Shape(1L << 40, 1L << 40), s -> {})),
            List.of(
                new Entry(
                    "fails",
                    TensorType.U8,
                    new Shape(1),
                    s -> {
                      throw new IOException("no source");
                    })));
    for (List<Entry> entries : bad) {
      PeftException e =
          assertThrows(PeftException.class, () -> SafeTensorsWriter.write(file, entries, Map.of()));
      assertTrue(
          e.getMessage().contains("'") || e.getMessage().contains("no source"), e.getMessage());
    }
    assertThrows(
        PeftException.class,
        () -> SafeTensorsWriter.write(file, List.of(good), Map.of("k", "\udfff")));
    NDArray ints = manager.create(new int[] {1});
    assertThrows(PeftException.class, () -> Entry.of("x", ints, TensorType.BF16));
    assertThrows(PeftException.class, () -> Entry.of("x", ints, TensorType.I16));
    assertEquals("old", Files.readString(file));
    try (Stream<Path> files = Files.list(directory)) {
      assertEquals(1, files.count());
    }
  }

  @Test
  void mayReadTheFileThatItReplaces() {
    SafeTensorsWriter.write(file, List.of(bytes("a", 1, 2), bytes("b", 3)), Map.of());
    try (SafeTensors old = SafeTensors.open(file)) {
      SafeTensorsWriter.write(
          file, List.of(Entry.of(old, "b"), bytes("c", 9)), Map.of("format", "pt"));
      assertEquals(2, old.buffer("a").get(1));
    }
    try (SafeTensors tensors = SafeTensors.open(file)) {
      assertEquals(List.of("b", "c"), List.copyOf(tensors.names()));
      assertEquals(3, tensors.buffer("b").get());
    }
  }
}
