package io.peft4j.onnx;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.peft4j.MalformedFileException;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.Size;
import net.jqwik.api.constraints.UniqueElements;

final class AdapterBytesPropertyTest {

  @Property(tries = 100)
  void whatIsWrittenIsReadBack(
      @ForAll @Size(max = 5) @UniqueElements List<String> names,
      @ForAll @IntRange(max = 5) int rank,
      @ForAll long seed) {
    Map<String, AdapterTensor> tensors = tensors(names, rank, seed);
    Map<String, AdapterTensor> read =
        AdapterBytes.read(ByteBuffer.wrap(AdapterBytes.write(tensors)), "bytes");
    assertEquals(List.copyOf(tensors.keySet()), List.copyOf(read.keySet()));
    tensors.forEach(
        (name, tensor) -> {
          assertArrayEquals(tensor.shape(), read.get(name).shape());
          assertArrayEquals(tensor.values(), read.get(name).values());
        });
  }

  @Property(tries = 2000)
  void damagedBytesAreReadOrRefused(@ForAll long seed) {
    byte[] bytes = AdapterBytes.write(tensors(List.of("a.lora_A.weight", "b"), 3, seed));
    Random random = new Random(seed);
    for (int i = 0; i < 3; i++) {
      bytes[random.nextInt(bytes.length)] = (byte) random.nextInt();
    }
    try {
      AdapterBytes.read(ByteBuffer.wrap(bytes), "bytes");
    } catch (MalformedFileException e) {
      assertEquals(0, e.getMessage().indexOf("bytes: not a valid ONNX adapter"));
    }
  }

  private static Map<String, AdapterTensor> tensors(List<String> names, int rank, long seed) {
    Random random = new Random(seed);
    Map<String, AdapterTensor> tensors = new LinkedHashMap<>();
    for (String name : names) {
      int in = random.nextInt(4);
      float[] values = new float[in * rank];
      for (int i = 0; i < values.length; i++) {
        values[i] = random.nextFloat();
      }
      // What UTF-8 cannot say becomes a question mark.
      String plain = name.replaceAll("[^\\p{ASCII}]", "") + "#" + tensors.size();
      tensors.put(plain, new AdapterTensor(new long[] {in, rank}, values));
    }
    return tensors;
  }
}
