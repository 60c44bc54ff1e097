package io.peft4j.state;

import static io.peft4j.state.RawFiles.tensor;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.MalformedFileException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the engine gets of a file. */
class TensorArrayTest {
  /** Two mebibytes of float32: enough to be mapped rather than copied. */
  private static final int LARGE = 1 << 19;

  @TempDir Path directory;
  private NDManager manager;

  @BeforeEach
  void open() {
    manager = NDManager.newBaseManager(Device.cpu(), "PyTorch");
  }

  @AfterEach
  void close() {
    manager.close();
  }

  private Path file(String header, byte... data) {
    return RawFiles.write(directory.resolve("x.safetensors"), RawFiles.bytes(header, data));
  }

  private static float[] ramp(int count) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = i;
    }
    return values;
  }

  private Path largeFile() {
    return file(
        "{" + tensor("w", "F32", "[512,1024]", 0, 4L * LARGE) + "} ".repeat(1) + padding(1),
        RawFiles.floats(ramp(LARGE)));
  }

  /** Spaces that bring the header of {@link #largeFile} to a multiple of 8. */
  private static String padding(int already) {
    int length = tensor("w", "F32", "[512,1024]", 0, 4L * LARGE).length() + 2 + already;
    return " ".repeat((8 - length % 8) % 8);
  }

  @Test
  void readsEveryTypeTheEngineHolds() {
    String header =
        "{"
            + String.join(
                ",",
                tensor("f64", "F64", "[1]", 0, 8),
                tensor("i64", "I64", "[1]", 8, 16),
                tensor("f32", "F32", "[]", 16, 20),
                tensor("i32", "I32", "[1,1]", 20, 24),
                tensor("f16", "F16", "[2]", 24, 28),
                tensor("i8", "I8", "[2]", 28, 30),
                tensor("u8", "U8", "[2]", 30, 32),
                tensor("bool", "BOOL", "[2]", 32, 34))
            + "}";
    ByteBuffer data = ByteBuffer.allocate(34).order(ByteOrder.LITTLE_ENDIAN);
    data.putDouble(1e300).putLong(-(1L << 60)).putFloat(0.1f).putInt(-5);
    data.putShort((short) 0x3c00).putShort((short) 0xc000).put((byte) -1).put((byte) 1);
    data.put((byte) -1).put((byte) 1).put((byte) 0).put((byte) 1);
    try (SafeTensors tensors = SafeTensors.open(file(header, data.array()))) {
      assertArrayEquals(new double[] {1e300}, tensors.array(manager, "f64").toDoubleArray());
      assertArrayEquals(new long[] {-(1L << 60)}, tensors.array(manager, "i64").toLongArray());
      NDArray scalar = tensors.array(manager, "f32");
      assertEquals(new Shape(), scalar.getShape());
      assertEquals(0.1f, scalar.getFloat());
      assertEquals(new Shape(1, 1), tensors.array(manager, "i32").getShape());
      assertArrayEquals(new int[] {-5}, tensors.array(manager, "i32").toIntArray());
      NDArray half = tensors.array(manager, "f16");
      assertEquals(DataType.FLOAT16, half.getDataType());
      assertArrayEquals(new float[] {1, -2}, half.toType(DataType.FLOAT32, false).toFloatArray());
      assertArrayEquals(new byte[] {-1, 1}, tensors.array(manager, "i8").toByteArray());
      assertEquals(DataType.UINT8, tensors.array(manager, "u8").getDataType());
      assertArrayEquals(new byte[] {-1, 1}, tensors.array(manager, "u8").toByteArray());
      assertArrayEquals(
          new boolean[] {false, true}, tensors.array(manager, "bool").toBooleanArray());
    }
  }

  @Test
  void refusesTypesThatWouldEndTheProcess() {
    for (TensorType type : TensorType.values()) {
      int bytes = type.bits();
      Path file = file("{" + tensor("a", type.name(), "[8]", 0, bytes) + "}", new byte[bytes]);
      try (SafeTensors tensors = SafeTensors.open(file)) {
        assertEquals(bytes, tensors.buffer("a").remaining());
        assertEquals(8, tensors.info("a").elements());
        if (type.dataType().isEmpty()) {
          MalformedFileException e =
              assertThrows(MalformedFileException.class, () -> tensors.array(manager, "a"));
          assertTrue(e.getMessage().contains("'a'"), e.getMessage());
          assertTrue(e.getMessage().contains(type.name()), e.getMessage());
        } else {
          assertEquals(8, tensors.array(manager, "a").size());
        }
        if (type.isFloat32Readable()) {
          assertEquals(DataType.FLOAT32, tensors.float32(manager, "a").getDataType());
        } else {
          assertThrows(MalformedFileException.class, () -> tensors.float32(manager, "a"));
        }
      }
    }
  }

  @Test
  void refusesBooleansThatAreNone() {
    Path file = file("{" + tensor("mask", "BOOL", "[3]", 0, 3) + "}", (byte) 0, (byte) 1, (byte) 2);
    try (SafeTensors tensors = SafeTensors.open(file)) {
      MalformedFileException e =
          assertThrows(MalformedFileException.class, () -> tensors.array(manager, "mask"));
      assertTrue(e.getMessage().contains("value 2"), e.getMessage());
    }
  }

  @Test
  void widensToFloat32() {
    String header =
        "{"
            + String.join(
                ",",
                tensor("f64", "F64", "[2]", 0, 16),
                tensor("bf16", "BF16", "[3]", 16, 22),
                tensor("f16", "F16", "[3]", 22, 28))
            + "}";
    ByteBuffer data = ByteBuffer.allocate(28).order(ByteOrder.LITTLE_ENDIAN);
    data.putDouble(0.1).putDouble(-1e300);
    data.put(RawFiles.shorts(0x3f80, 0xff80, 0x0001)).put(RawFiles.shorts(0x3c00, 0xfc00, 0x0001));
    try (SafeTensors tensors = SafeTensors.open(file(header, data.array()))) {
      assertArrayEquals(
          new float[] {0.1f, Float.NEGATIVE_INFINITY},
          tensors.float32(manager, "f64").toFloatArray());
      assertArrayEquals(
          new float[] {1, Float.NEGATIVE_INFINITY, Float.intBitsToFloat(0x10000)},
          tensors.float32(manager, "bf16").toFloatArray());
      assertArrayEquals(
          new float[] {1, Float.NEGATIVE_INFINITY, 0x1p-24f},
          tensors.float32(manager, "f16").toFloatArray());
    }
  }

  @Test
  void widensManyElementsOnSeveralThreads() {
    int count = 700_001;
    int[] halves = new int[count];
    for (int i = 0; i < count; i++) {
      halves[i] = i;
    }
    byte[] data = RawFiles.shorts(halves);
    for (TensorType type : List.of(TensorType.F16, TensorType.BF16)) {
      Path file =
          file("{" + tensor("a", type.name(), "[" + count + "]", 0, data.length) + "}", data);
      try (SafeTensors tensors = SafeTensors.open(file)) {
        float[] floats = tensors.float32(manager, "a").toFloatArray();
        for (int i = 0; i < count; i++) {
          float expected =
              type == TensorType.F16
                  ? HalfPrecision.fromFloat16((short) i)
                  : HalfPrecision.fromBfloat16((short) i);
          if (Float.floatToIntBits(expected) != Float.floatToIntBits(floats[i])) {
            assertEquals(expected, floats[i], type + " element " + i);
          }
        }
      }
    }
  }

  @Test
  void arraysAndTheirViewsOutliveEverythingTheyCameFrom() throws Exception {
    NDArray view;
    try (NDManager sub = manager.newSubManager()) {
      try (SafeTensors tensors = SafeTensors.open(largeFile())) {
        NDArray array = tensors.array(sub, "w");
        view = array.get("511:");
        view.attach(manager);
      }
      Files.delete(directory.resolve("x.safetensors"));
    }
    for (int i = 0; i < 3; i++) {
      System.gc();
      Thread.sleep(20);
    }
    assertEquals(LARGE - 1f, view.getFloat(0, 1023));
    assertEquals(1, manager.getManagedArrays().size());
  }

  @Test
  void mapsLargeTensorsCopyOnWrite() throws IOException {
    Path file = largeFile();
    try (SafeTensors tensors = SafeTensors.open(file)) {
      long before = anonymousKilobytes();
      List<NDArray> arrays = new ArrayList<>();
      for (int i = 0; i < 100; i++) {
        arrays.add(tensors.float32(manager, "w"));
      }
      float sum = 0;
      for (NDArray array : arrays) {
        sum += array.getFloat(3, 5);
      }
      assertEquals(100f * (3 * 1024 + 5), sum);
      assertEquals(new Shape(512, 1024), arrays.get(0).getShape());
      if (before >= 0) {
        long grown = anonymousKilobytes() - before;
        assertTrue(grown < 100_000, "200 MB of copies were made: " + grown + " kB");
      }
      arrays.get(0).addi(1);
      assertEquals(1, arrays.get(0).getFloat(0, 0));
      assertEquals(0, tensors.buffer("w").getFloat(0), "the file is untouched");
    }
  }

  /** Memory of this process that no file backs, where the system tells. */
  private static long anonymousKilobytes() throws IOException {
    Path status = Path.of("/proc/self/status");
    if (!Files.exists(status)) {
      return -1;
    }
    for (String line : Files.readAllLines(status)) {
      if (line.startsWith("RssAnon:")) {
        return Long.parseLong(line.replaceAll("[^0-9]", ""));
      }
    }
    return -1;
  }

  @Test
  void copiesAreFreeToBeWritten() {
    try (SafeTensors tensors = SafeTensors.open(largeFile())) {
      NDArray copy = tensors.float32Copy(manager, "w");
      assertArrayEquals(ramp(LARGE), copy.toFloatArray());
      copy.addi(1);
      assertEquals(2f, copy.getFloat(0, 1));
      assertEquals(1f, tensors.float32(manager, "w").getFloat(0, 1));
    }
  }

  @Test
  void leavesNoArraysBehind() {
    try (SafeTensors tensors = SafeTensors.open(largeFile())) {
      for (int i = 0; i < 5; i++) {
        tensors.array(manager, "w").close();
        tensors.float32Copy(manager, "w").close();
      }
    }
    assertEquals(List.of(), manager.getManagedArrays());
  }

  @Test
  void trainsOnMappedAndCopiedArrays() {
    try (SafeTensors tensors = SafeTensors.open(largeFile())) {
      NDArray trained = tensors.float32Copy(manager, "w");
      trained.setRequiresGradient(true);
      NDArray frozen = tensors.float32(manager, "w");
      try (var collector = manager.getEngine().newGradientCollector()) {
        NDArray loss = trained.mul(frozen).sum();
        collector.backward(loss);
      }
      assertEquals(7f, trained.getGradient().getFloat(0, 7));
    }
  }

  @Test
  void fillsInPieces() {
    NDArray array =
        TensorArrays.fill(
            manager,
            new Shape(3, 5),
            DataType.FLOAT32,
            (destination, first, elements) -> {
              assertEquals(4 * elements, destination.remaining());
              for (int i = 0; i < elements; i++) {
                destination.putFloat(4 * i, first + i);
              }
            },
            16);
    assertArrayEquals(ramp(15), array.toFloatArray());
    List<Float> seen = new ArrayList<>();
    TensorArrays.forEachPiece(
        array.transpose(),
        4,
        (bytes, first, elements) -> {
          assertEquals(seen.size(), first);
          while (bytes.hasRemaining()) {
            seen.add(bytes.getFloat());
          }
        });
    assertEquals(List.of(0f, 5f, 10f, 1f, 6f, 11f), seen.subList(0, 6));
  }

  @Test
  void writingToOneArraySpoilsNoOthersBackwardPass() {
    String header =
        "{"
            + tensor("a", "F32", "[" + LARGE + "]", 0, 4L * LARGE)
            + ","
            + tensor("b", "F32", "[" + LARGE + "]", 4L * LARGE, 8L * LARGE)
            + "}";
    try (SafeTensors tensors =
        SafeTensors.open(
            file(header + " ".repeat((8 - header.length() % 8) % 8), new byte[8 * LARGE]))) {
      NDArray a = tensors.array(manager, "a");
      NDArray b = tensors.array(manager, "b");
      NDArray trained = manager.ones(new Shape(LARGE));
      trained.setRequiresGradient(true);
      try (var collector = manager.getEngine().newGradientCollector()) {
        NDArray loss = trained.mul(a).sum();
        b.addi(1);
        collector.backward(loss);
      }
      assertEquals(0f, trained.getGradient().getFloat(0));
    }
  }

  @Test
  void aScopeClosesOnlyWhatItsUserAskedFor() {
    try (SafeTensors tensors = SafeTensors.open(largeFile())) {
      NDArray kept;
      try (NDScope scope = new NDScope()) {
        scope.suppressNotUsedWarning();
        tensors.array(manager, "w");
        kept = tensors.array(manager, "w");
        NDScope.unregister(kept);
      }
      assertEquals(1, manager.getManagedArrays().size());
      assertEquals(9f, kept.getFloat(0, 9));
      assertEquals(9f, tensors.array(manager, "w").getFloat(0, 9));
    }
  }
}
