package io.peft4j.models.gguf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.peft4j.AdapterStateException;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftException;
import io.peft4j.state.SafeTensors;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What lies in a file, bit for bit, and files that lie. */
final class GgufFileTest {
  static final Path GOLDEN = Path.of(System.getProperty("peft4j.golden"), "gguf");

  @TempDir private Path temporary;

  @ParameterizedTest
  @EnumSource(GgufType.class)
  void unpacksToTheBitsOfTheReference(GgufType type) {
    String name = type.name().toLowerCase(java.util.Locale.ROOT);
    try (NDManager manager = NDManager.newBaseManager();
        GgufFile file = GgufFile.open(GOLDEN.resolve("types.gguf"));
        SafeTensors expected = SafeTensors.open(GOLDEN.resolve("types.safetensors"))) {
      assertEquals(type, file.tensor(name).type());
      assertEquals(expected.info(name).shape(), file.tensor(name).shape());
      NDArray values = file.float32(manager, name);
      assertArrayEquals(bits(expected.float32(manager, name)), bits(values));
      ByteBuffer packed = file.buffer(name);
      assertEquals(file.tensor(name).bytes(), packed.remaining());
      assertEquals(type.bytes(values.size()), packed.remaining());
      assertEquals(packed.slice(2, 7), file.buffer(name, 2, 7));
      assertTrue(packed.isReadOnly());
      assertThrows(PeftException.class, () -> file.buffer(name, packed.remaining() - 1, 2));
    }
  }

  private static int[] bits(NDArray array) {
    float[] values = array.toFloatArray();
    int[] bits = new int[values.length];
    for (int i = 0; i < bits.length; i++) {
      bits[i] = Float.floatToIntBits(values[i]);
    }
    return bits;
  }

  @Test
  void metadataHasTheTypesThatAreAskedFor() {
    try (GgufFile file = GgufFile.open(GOLDEN.resolve("types.gguf"))) {
      GgufMetadata metadata = file.metadata();
      assertEquals(3, file.version());
      assertEquals(64, metadata.integer("general.alignment").orElseThrow());
      assertEquals("none", metadata.string("general.architecture").orElseThrow());
      assertTrue(metadata.string("no.such").isEmpty());
      assertArrayEquals(new long[] {1}, metadata.integers("test.empty").orElseThrow());
      MalformedFileException wrong =
          assertThrows(
              MalformedFileException.class, () -> metadata.integer("general.architecture"));
      assertTrue(wrong.getMessage().contains("'none'"), wrong.getMessage());
      // 2^63 + 1 is no long.
      assertThrows(MalformedFileException.class, () -> metadata.integer("test.large"));
    }
  }

  @Test
  void aClosedFileSaysSo() {
    GgufFile file = GgufFile.open(GOLDEN.resolve("types.gguf"));
    ByteBuffer kept = file.buffer("f32");
    file.close();
    assertThrows(AdapterStateException.class, () -> file.buffer("f32"));
    assertThrows(
        AdapterStateException.class,
        () -> {
          try (NDManager manager = NDManager.newBaseManager()) {
            file.float32(manager, "f32");
          }
        });
    assertEquals(0f, kept.getFloat(0));
  }

  private void refused(byte[] content, String... parts) throws IOException {
    Path file = Files.write(temporary.resolve("bad.gguf"), content);
    MalformedFileException e =
        assertThrows(MalformedFileException.class, () -> GgufFile.open(file).close());
    assertTrue(e.getMessage().startsWith(file.toString()), e.getMessage());
    for (String part : parts) {
      assertTrue(e.getMessage().contains(part), part + " is not in: " + e.getMessage());
    }
  }

  @Test
  void filesThatAreNoneAreRefused() throws IOException {
    refused(new byte[0], "0 bytes");
    refused("GGUF".getBytes(StandardCharsets.US_ASCII), "4 bytes");
    refused(new byte[100], "not a GGUF file");
    byte[] old = GgufBuilder.llama().build();
    old[4] = 1;
    refused(old, "version 1", "2 and 3");
    byte[] swapped = GgufBuilder.llama().build();
    swapped[4] = 0;
    swapped[7] = 3;
    refused(swapped, "big-endian");
    assertThrows(MalformedFileException.class, () -> GgufFile.open(temporary));
    assertThrows(MalformedFileException.class, () -> GgufFile.open(temporary.resolve("none.gguf")));
  }

  @Test
  void countsAndLengthsAreNotBelieved() throws IOException {
    refused(GgufBuilder.llama().build(1L << 40, 1), "tensors", "1099511627776");
    refused(GgufBuilder.llama().build(-1, 1), "18446744073709551615 tensors");
    refused(GgufBuilder.llama().build(1, 1L << 33), "metadata keys");
    byte[] text = GgufBuilder.bytes(8).putLong(1L << 50).array();
    refused(GgufBuilder.of("x").raw("k", 8, text).build(), "'k'", "1125899906842624 bytes");
    byte[] list = GgufBuilder.bytes(12).putInt(4).putLong(1L << 31).array();
    refused(GgufBuilder.of("x").raw("k", 9, list).build(), "'k'", "2147483648 elements");
    byte[] nested = GgufBuilder.bytes(12 * 200).array();
    for (int i = 0; i < 200; i++) {
      ByteBuffer.wrap(nested).order(java.nio.ByteOrder.LITTLE_ENDIAN).putInt(12 * i, 9);
      nested[12 * i + 4] = 1;
    }
    refused(GgufBuilder.of("x").raw("k", 9, nested).build(), "'k'", "8 levels");
    refused(GgufBuilder.of("x").raw("k", 13, new byte[8]).build(), "'k'", "unknown type 13");
    refused(GgufBuilder.of("x").raw("k", 7, new byte[] {2}).build(), "boolean", "2");
    byte[] notText = GgufBuilder.bytes(9).putLong(1).put((byte) 0xff).array();
    refused(GgufBuilder.of("x").raw("k", 8, notText).build(), "'k'", "UTF-8");
    refused(GgufBuilder.of("x").string("k", "a").string("k", "b").build(), "'k'", "twice");
    refused(GgufBuilder.of("x").integer("general.alignment", 33).build(), "alignment", "33");
  }

  @Test
  void tensorsMustLieInTheFile() throws IOException {
    byte[] four = new byte[32];
    refused(of(0, 0, four, 8, -3).build(), "'t'", "dimension");
    refused(of(0, 0, four, 0).build(), "'t'", "dimension of 0");
    refused(of(0, 0, four, 1L << 32, 1L << 32).build(), "'t'", "shape");
    refused(of(0, 0, four, 2, 2, 2, 2, 2).build(), "'t'", "5 dimensions");
    refused(of(0, 0, four, 1000).build(), "'t'", "does not fit");
    refused(of(0, 16, four, 4).build(), "'t'", "alignment");
    refused(of(0, 1L << 62, four, 4).build(), "'t'", "does not fit");
    refused(of(2, 0, four, 20).build(), "'t'", "multiple of the 32", "Q4_0");
    refused(of(13, 0, four, 256).build(), "'t'", "Q5_K", "F32, F16, Q4_0, Q4_1, Q8_0, Q4_K, Q6_K");
    refused(of(99, 0, four, 256).build(), "'t'", "unknown number 99");
    refused(of(0, 0, four, 8).floats("t", 8).build(), "'t'", "twice");
    refused(of(0, 0, four, 8).tensor("u", 0, 0, four, 8).build(), "'t'", "'u'", "overlap");
    byte[] whole = GgufBuilder.llama().build();
    refused(java.util.Arrays.copyOf(whole, whole.length - 64), "'blk.0.ffn_down.weight'");
  }

  private static GgufBuilder of(int type, long offset, byte[] bytes, long... dimensions) {
    return GgufBuilder.of("x").tensor("t", type, offset, bytes, dimensions);
  }
}
