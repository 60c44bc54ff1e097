package io.peft4j.state;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.types.Shape;
import io.peft4j.MalformedFileException;
import io.peft4j.state.SafeTensorsWriter.Entry;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;

class SafeTensorsPropertyTest {
  private static Path directory;

  @BeforeContainer
  static void makeDirectory() throws IOException {
    directory = Files.createTempDirectory("safetensors");
  }

  @AfterContainer
  static void deleteDirectory() throws IOException {
    try (var files = Files.list(directory)) {
      for (Path file : files.toList()) {
        Files.delete(file);
      }
    }
    Files.delete(directory);
  }

  record Tensor(String name, TensorType type, long[] shape, byte[] data) {}

  @Provide
  Arbitrary<List<Tensor>> tensorSets() {
    Arbitrary<String> names =
        Arbitraries.oneOf(
            Arbitraries.strings().withCharRange('a', 'e').withChars('.').ofMaxLength(6),
            Arbitraries.strings().all().ofMaxLength(4).filter(SafeTensorsHeader::isUnicode));
    Arbitrary<long[]> shapes = Arbitraries.longs().between(0, 5).array(long[].class).ofMaxSize(4);
    Arbitrary<Tensor> tensors =
        Combinators.combine(names, Arbitraries.of(TensorType.class), shapes, Arbitraries.longs())
            .as(
                (name, type, shape, seed) -> {
                  long elements = Arrays.stream(shape).reduce(1, (a, b) -> a * b);
                  if (elements * type.bits() % 8 != 0) {
                    shape = new long[] {8};
                    elements = 8;
                  }
                  byte[] data = new byte[(int) type.bytes(elements)];
                  new Random(seed).nextBytes(data);
                  return new Tensor(name, type, shape, data);
                });
    return tensors.list().ofMaxSize(8).uniqueElements(Tensor::name);
  }

  /** Writes without forcing the file to disk, which is what takes time. */
  private static Path write(List<Tensor> tensors, Map<String, String> metadata) throws IOException {
    Path file = directory.resolve("x.safetensors");
    List<Entry> entries = new ArrayList<>();
    for (Tensor t : tensors) {
      entries.add(Entry.of(t.name, t.type, new Shape(t.shape), ByteBuffer.wrap(t.data)));
    }
    try (FileChannel channel =
        FileChannel.open(
            file,
            StandardOpenOption.WRITE,
            StandardOpenOption.CREATE,
            StandardOpenOption.TRUNCATE_EXISTING)) {
      SafeTensorsWriter.content(file, entries, metadata).writeTo(channel);
    }
    return file;
  }

  @Property(tries = 150)
  void whatIsWrittenIsRead(@ForAll("tensorSets") List<Tensor> tensors) throws IOException {
    Path file = write(tensors, Map.of("format", "pt"));
    byte[] bytes = Files.readAllBytes(file);
    assertEquals(0, headerEnd(bytes) % 8, "the header is padded");
    try (SafeTensors read = SafeTensors.open(file)) {
      assertEquals(tensors.size(), read.names().size());
      assertEquals(Map.of("format", "pt"), read.metadata());
      for (Tensor t : tensors) {
        TensorInfo info = read.info(t.name);
        assertEquals(t.type, info.type());
        assertEquals(new Shape(t.shape), info.shape());
        assertArrayEquals(t.data, RawFiles.copy(read.buffer(t.name)));
        if (t.data.length > 0) {
          assertEquals(t.data[t.data.length - 1], bytes[(int) (headerEnd(bytes) + info.end() - 1)]);
        }
      }
    }
    List<Tensor> reversed = new ArrayList<>(tensors);
    java.util.Collections.reverse(reversed);
    assertArrayEquals(bytes, Files.readAllBytes(write(reversed, Map.of("format", "pt"))));
  }

  private static long headerEnd(byte[] bytes) {
    return 8 + ByteBuffer.wrap(bytes).order(java.nio.ByteOrder.LITTLE_ENDIAN).getLong(0);
  }

  /** Opens and reads all; only the one exception may come out, and no memory to speak of go in. */
  private static void onlyMalformed(byte[] bytes) {
    Path file = RawFiles.write(directory.resolve("hostile.safetensors"), bytes);
    var thread = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
    long before = thread.getThreadAllocatedBytes(Thread.currentThread().getId());
    try (SafeTensors read = SafeTensors.open(file)) {
      long total = 0;
      for (String name : read.names()) {
        ByteBuffer buffer = read.buffer(name);
        total += buffer.remaining();
        while (buffer.hasRemaining()) {
          buffer.get();
        }
      }
      assertTrue(total < bytes.length);
    } catch (MalformedFileException e) {
      assertTrue(e.getMessage().startsWith(file.toString()), e.getMessage());
    }
    long allocated = thread.getThreadAllocatedBytes(Thread.currentThread().getId()) - before;
    assertTrue(allocated < 4_000_000, "allocated " + allocated + " for " + bytes.length);
  }

  @Property(tries = 400)
  void flippedBitsAreRefusedOrRead(
      @ForAll("tensorSets") List<Tensor> tensors, @ForAll Random random) throws IOException {
    byte[] bytes = Files.readAllBytes(write(tensors, Map.of("k", "v")));
    int headerLength = (int) headerEnd(bytes);
    int flips = 1 + random.nextInt(3);
    for (int i = 0; i < flips; i++) {
      int limit = random.nextInt(4) == 0 ? bytes.length : headerLength;
      bytes[random.nextInt(Math.min(bytes.length, Math.max(8, limit)))] ^= 1 << random.nextInt(8);
    }
    onlyMalformed(bytes);
  }

  @Property(tries = 150)
  void cutAndLongerFilesAreRefused(
      @ForAll("tensorSets") List<Tensor> tensors, @ForAll Random random) throws IOException {
    byte[] bytes = Files.readAllBytes(write(tensors, Map.of("k", "v")));
    int length = random.nextInt(bytes.length + 20);
    byte[] other = Arrays.copyOf(bytes, length == bytes.length ? length + 1 : length);
    onlyMalformed(other);
    Path file = RawFiles.write(directory.resolve("hostile.safetensors"), other);
    try {
      SafeTensors.open(file).close();
      throw new AssertionError("a file of another length was taken");
    } catch (MalformedFileException e) {
      assertTrue(e.getMessage().startsWith(file.toString()));
    }
  }

  /** Header text with pieces replaced by others that a header could hold. */
  @Property(tries = 400)
  void editedHeadersAreRefusedOrRead(
      @ForAll("tensorSets") List<Tensor> tensors, @ForAll Random random) throws IOException {
    byte[] bytes = Files.readAllBytes(write(tensors, Map.of("k", "v")));
    int end = (int) headerEnd(bytes);
    String header = new String(bytes, 8, end - 8, StandardCharsets.UTF_8);
    String[] from = {
      "0", "1", "5", "[", "]", "{", "}", ",", ":", "\"", "F32", "dtype", "shape", "v"
    };
    String[] to = {
      "9999999999999999999",
      "-1",
      "1e9",
      "1.5",
      "null",
      "true",
      "[[[[",
      "{}",
      "\"\"",
      "",
      ",",
      "[1,2,3]",
      "\\u0000",
      "\\ud800",
      "__metadata__",
      "BF16",
      "\u00e9",
      "4294967296",
      "data_offsets",
      " "
    };
    for (int i = 0; i <= random.nextInt(3); i++) {
      String target = from[random.nextInt(from.length)];
      int at = header.indexOf(target, random.nextInt(header.length()));
      if (at >= 0) {
        header =
            header.substring(0, at)
                + to[random.nextInt(to.length)]
                + header.substring(at + target.length());
      }
    }
    onlyMalformed(RawFiles.bytes(header, Arrays.copyOfRange(bytes, end, bytes.length)));
  }

  @Property(tries = 200)
  void randomBytesAreRefused(@ForAll byte[] header, @ForAll byte[] data) {
    onlyMalformed(RawFiles.bytes(header, data));
    byte[] brace = new byte[header.length + 1];
    System.arraycopy(header, 0, brace, 1, header.length);
    brace[0] = '{';
    onlyMalformed(RawFiles.bytes(brace, data));
    onlyMalformed(header);
  }

  @Property(tries = 2000)
  void floatsAreWrittenInTheShortestFormThatReadsBack(@ForAll long bits) {
    double value = Double.longBitsToDouble(bits);
    if (Double.isNaN(value) || Double.isInfinite(value)) {
      return;
    }
    String text = PythonJson.repr(value);
    assertEquals(value, Double.parseDouble(text));
    int digits = new BigDecimal(text).stripTrailingZeros().precision();
    assertTrue(digits <= new BigDecimal(Double.toString(value)).stripTrailingZeros().precision());
    assertTrue(text.contains(".") || text.contains("e"), text);
    assertEquals(text, Json.toPythonString(Json.parse(text, "text")));
  }
}
