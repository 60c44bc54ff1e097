package io.peft4j.state;

import static io.peft4j.state.RawFiles.tensor;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterStateException;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ReadOnlyBufferException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Files, buffers and what happens to files that are open. */
class SafeTensorsTest {
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
  void buffersAreReadOnlySlices() {
    Path file =
        file(
            "{" + tensor("a", "U8", "[2]", 0, 2) + "," + tensor("b", "I16", "[2]", 2, 6) + "}",
            (byte) 7,
            (byte) 8,
            (byte) 1,
            (byte) 2,
            (byte) 3,
            (byte) 4);
    ByteBuffer b;
    try (SafeTensors tensors = SafeTensors.open(file)) {
      assertEquals(List.of("a", "b"), List.copyOf(tensors.names()));
      assertArrayEquals(new byte[] {7, 8}, RawFiles.copy(tensors.buffer("a")));
      b = tensors.buffer("b");
      assertEquals(0x0201, b.getShort(0));
      assertThrows(ReadOnlyBufferException.class, () -> tensors.buffer("b").put((byte) 1));
      assertArrayEquals(new byte[] {2, 3}, RawFiles.copy(tensors.buffer("b", 1, 2)));
      assertEquals(0, tensors.buffer("b", 4, 0).remaining());
      for (long[] bad : new long[][] {{-1, 1}, {0, 5}, {4, 1}, {Long.MAX_VALUE, 1}, {0, -1}}) {
        assertThrows(PeftException.class, () -> tensors.buffer("b", bad[0], (int) bad[1]));
      }
      assertThrows(UnsupportedOperationException.class, () -> tensors.names().clear());
    }
    assertEquals(0x0403, b.getShort(2), "a buffer outlives the file that is open");
  }

  @Test
  void namesWhatIsNotThereAndRefusesUseAfterClose() {
    Path file = file("{" + tensor("a", "U8", "[2]", 0, 2) + "}", new byte[2]);
    SafeTensors tensors = SafeTensors.open(file);
    MalformedFileException e =
        assertThrows(MalformedFileException.class, () -> tensors.buffer("b"));
    assertTrue(e.getMessage().contains(file.toString()), e.getMessage());
    assertTrue(e.getMessage().contains("'b'"), e.getMessage());
    assertTrue(tensors.contains("a"));
    tensors.close();
    tensors.close();
    assertThrows(AdapterStateException.class, () -> tensors.buffer("a"));
    assertThrows(AdapterStateException.class, () -> tensors.array(manager, "a"));
  }

  @Test
  void readsTheFileThatWasOpenedThoughItIsReplaced() {
    Path file = largeFile();
    try (SafeTensors tensors = SafeTensors.open(file)) {
      // The same header over other values, renamed into place.
      byte[] other = new byte[4 * LARGE];
      AtomicFiles.writeBytes(
          file,
          RawFiles.bytes(
              "{" + tensor("w", "F32", "[512,1024]", 0, 4L * LARGE) + "} " + padding(1), other));
      assertArrayEquals(ramp(LARGE), tensors.array(manager, "w").toFloatArray());
    }
    try (SafeTensors tensors = SafeTensors.open(file)) {
      assertEquals(0, tensors.array(manager, "w").getFloat(0, 1));
    }
  }

  @Test
  void readsFilesThatMayNotBeWritten() {
    Path file = largeFile();
    assertTrue(file.toFile().setReadOnly());
    try (SafeTensors tensors = SafeTensors.open(file)) {
      NDArray array = tensors.array(manager, "w");
      array.muli(2);
      assertEquals(2f, array.getFloat(0, 1));
    }
  }

  @Test
  void readsPathsThatAreNotAscii() throws IOException {
    Path unusual = directory.resolve("größe 'x' \"y\" 重み");
    Path file = Files.createDirectory(unusual).resolve("x.safetensors");
    Files.move(largeFile(), file);
    try (SafeTensors tensors = SafeTensors.open(file)) {
      assertArrayEquals(ramp(LARGE), tensors.array(manager, "w").toFloatArray());
    }
  }

  /** Old files have no padding, and any order of types: their tensors lie askew. */
  @Test
  void readsTensorsThatLieAskew() {
    String header =
        "{"
            + tensor("a", "U8", "[1]", 0, 1)
            + ","
            + tensor("w", "F32", "[" + LARGE + "]", 1, 1 + 4L * LARGE)
            + "}";
    byte[] data = new byte[1 + 4 * LARGE];
    System.arraycopy(RawFiles.floats(ramp(LARGE)), 0, data, 1, 4 * LARGE);
    try (SafeTensors tensors = SafeTensors.open(file(header, data))) {
      assertArrayEquals(ramp(LARGE), tensors.array(manager, "w").toFloatArray());
      assertEquals(1f, tensors.buffer("w").getFloat(4));
    }
  }

  @Test
  void isReadByManyThreads() throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(8);
    try (SafeTensors tensors = SafeTensors.open(largeFile())) {
      List<Callable<Float>> tasks = new ArrayList<>();
      for (int i = 0; i < 64; i++) {
        int index = i;
        tasks.add(
            () -> {
              try (NDManager own = NDManager.newBaseManager(Device.cpu(), "PyTorch")) {
                return (index % 2 == 0 ? tensors.array(own, "w") : tensors.float32Copy(own, "w"))
                        .getFloat(0, index)
                    + tensors.buffer("w").getFloat(4 * index);
              }
            });
      }
      List<Future<Float>> results = pool.invokeAll(tasks);
      for (int i = 0; i < 64; i++) {
        assertEquals(2f * i, results.get(i).get());
      }
    } finally {
      pool.shutdown();
    }
  }

  @Test
  void anInterruptedThreadHarmsNoOther() {
    try (SafeTensors tensors = SafeTensors.open(largeFile())) {
      Thread.currentThread().interrupt();
      try {
        assertEquals(1f, tensors.buffer("w").getFloat(4));
        assertEquals(1f, tensors.float32Copy(manager, "w").getFloat(0, 1));
        assertTrue(Thread.currentThread().isInterrupted());
      } finally {
        Thread.interrupted();
      }
      assertEquals(2f, tensors.array(manager, "w").getFloat(0, 2));
    }
  }

  @Test
  void windowsCoverAnyRange() throws IOException {
    byte[] content = new byte[100];
    for (int i = 0; i < content.length; i++) {
      content[i] = (byte) i;
    }
    Path file = RawFiles.write(directory.resolve("w"), content);
    // Windows of 19 bytes every 10; one tensor of 15 bytes has its own, one of 60 is read in
    // ranges.
    List<TensorInfo> tensors =
        List.of(
            new TensorInfo("a", TensorType.U8, new Shape(15), 5, 20),
            new TensorInfo("b", TensorType.U8, new Shape(60), 20, 80));
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      MappedFile mapped = MappedFile.map(channel, 3, tensors, 10, 19);
      assertEquals(8, mapped.slice(8, 0, 15).get(0));
      assertEquals(22, mapped.slice(8, 0, 15).get(14));
      assertEquals(11, mapped.slice(8, 3, 2).get());
      for (int offset = 0; offset <= 60; offset++) {
        for (int length = 1; length <= Math.min(10, 60 - offset); length++) {
          ByteBuffer slice = mapped.slice(23, offset, length);
          assertEquals(length, slice.remaining());
          assertEquals(23 + offset, slice.get(0));
          assertEquals(23 + offset + length - 1, slice.get(length - 1));
        }
      }
    }
  }

  @Test
  void readsFilesLargerThanABuffer() throws IOException {
    // Sparse: takes no room on file systems that know holes.
    long big = (1L << 32) + 8;
    String header =
        "{"
            + tensor("big", "F32", "[" + big / 4 + "]", 0, big)
            + ","
            + tensor("last", "F32", "[2]", big, big + 8)
            + "}";
    byte[] start = RawFiles.bytes(header + " ".repeat((8 - header.length() % 8) % 8));
    Path file = RawFiles.write(directory.resolve("huge.safetensors"), start);
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.write(ByteBuffer.wrap(RawFiles.floats(3, 4, 5)), start.length + big - 4);
    }
    try (SafeTensors tensors = SafeTensors.open(file)) {
      assertArrayEquals(new float[] {4, 5}, tensors.array(manager, "last").toFloatArray());
      assertEquals(4f, tensors.buffer("last").getFloat(0));
      PeftException e = assertThrows(PeftException.class, () -> tensors.buffer("big"));
      assertTrue(e.getMessage().contains("ranges"), e.getMessage());
      assertThrows(PeftException.class, () -> tensors.buffer("big", 0, (1 << 30) + 1));
      assertEquals(3f, tensors.buffer("big", big - (1 << 30), 1 << 30).getFloat((1 << 30) - 4));
      NDArray mapped = tensors.array(manager, "big");
      assertEquals(big / 4, mapped.size());
      assertEquals(3f, mapped.getFloat(big / 4 - 1));
    }
  }

  @Test
  void keepsMetadata() {
    Path file = file("{\"__metadata__\":{\"z\":\"1\",\"a\":\"ü\\n\"}}");
    try (SafeTensors tensors = SafeTensors.open(file)) {
      assertEquals(Map.of("z", "1", "a", "ü\n"), tensors.metadata());
      assertEquals("[z, a]", tensors.metadata().keySet().toString());
      assertTrue(tensors.names().isEmpty());
      assertNull(tensors.metadata().get("b"));
    }
  }
}
