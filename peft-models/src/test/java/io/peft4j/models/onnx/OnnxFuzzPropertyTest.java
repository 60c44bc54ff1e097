package io.peft4j.models.onnx;

import static org.junit.jupiter.api.Assertions.assertThrows;

import io.peft4j.MalformedFileException;
import java.util.Arrays;
import java.util.List;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.ByteRange;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.Size;

/** Whatever is done to a file, reading it works or is refused, and in no other way. */
class OnnxFuzzPropertyTest {
  private static final byte[] SOUND = new TinyBert("", true).toBytes();

  private static void readOrRefuse(byte[] bytes) {
    try {
      OnnxWeights weights = OnnxFiles.read(bytes);
      BertOnnx.of(weights).tensors();
    } catch (MalformedFileException expected) {
      // One of the two right outcomes.
    }
  }

  @Property(tries = 3000)
  void changedBytes(
      @ForAll @Size(min = 1, max = 6) List<@IntRange(max = 1 << 20) Integer> places,
      @ForAll @ByteRange(min = -128) byte value) {
    byte[] bytes = SOUND.clone();
    for (int place : places) {
      bytes[place % bytes.length] = value;
    }
    readOrRefuse(bytes);
  }

  @Property(tries = 1000)
  void flippedBitsNearTheHeaders(
      @ForAll @IntRange(max = 1 << 20) int place, @ForAll @IntRange(max = 7) int bit) {
    byte[] bytes = SOUND.clone();
    bytes[place % bytes.length] ^= (byte) (1 << bit);
    readOrRefuse(bytes);
  }

  @Property(tries = 1000)
  void cutPieces(
      @ForAll @IntRange(max = 1 << 20) int from, @ForAll @IntRange(max = 40) int length) {
    int start = from % SOUND.length;
    int end = Math.min(SOUND.length, start + length);
    byte[] bytes = Arrays.copyOf(SOUND, SOUND.length - (end - start));
    System.arraycopy(SOUND, end, bytes, start, SOUND.length - end);
    readOrRefuse(bytes);
  }

  @Property(tries = 500)
  void truncatedFilesAreRefused(@ForAll @IntRange(max = 1 << 20) int length) {
    byte[] bytes = Arrays.copyOf(SOUND, length % SOUND.length);
    assertThrows(MalformedFileException.class, () -> OnnxFiles.read(bytes));
  }

  @Property(tries = 2000)
  void noise(@ForAll @Size(max = 60) byte[] bytes) {
    readOrRefuse(bytes);
    readOrRefuse(new ProtobufWriter().bytes(7, bytes).toBytes());
    readOrRefuse(OnnxFiles.model(new ProtobufWriter().bytes(5, bytes)));
  }
}
