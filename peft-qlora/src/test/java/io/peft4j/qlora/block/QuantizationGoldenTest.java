package io.peft4j.qlora.block;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.MalformedFileException;
import io.peft4j.qlora.block.Cases.Case;
import io.peft4j.state.DynamicMap;
import io.peft4j.state.Json;
import io.peft4j.state.SafeTensors;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.zip.CRC32;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Codes, scales and unpacked values against bitsandbytes, byte for byte. */
final class QuantizationGoldenTest {
  private static SafeTensors tensors;

  @BeforeAll
  static void open() {
    tensors = SafeTensors.open(Cases.FOLDER.resolve("tensors.safetensors"));
  }

  @AfterAll
  static void close() {
    tensors.close();
  }

  static List<Case> cases() {
    return Cases.all();
  }

  private static byte[] golden(String name) {
    return Cases.bytes(tensors.buffer(name));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void bytesAreThoseOfBitsandbytes(Case golden) {
    PackedBlocks blocks = golden.quantize(tensors);
    assertArrayEquals(golden(golden.name() + "/weight"), Cases.bytes(blocks.packed()), "codes");
    byte[] scales = golden(golden.name() + "/weight.absmax");
    if (blocks.scales() instanceof NestedScales nested) {
      byte[] state =
          golden(golden.name() + "/weight.quant_state.bitsandbytes__" + golden.type().key());
      double offset =
          Json.parse(new String(state, StandardCharsets.UTF_8), "state")
              .get("nested_offset")
              .doubleValue();
      assertEquals((float) offset, nested.offset(), "offset");
      assertArrayEquals(
          golden(golden.name() + "/weight.nested_absmax"),
          nested.largestBytes().array(),
          "scales of scales");
      assertArrayEquals(scales, Cases.bytes(nested.codes()), "codes of scales");
    } else {
      assertArrayEquals(scales, Cases.bytes(((PlainScales) blocks.scales()).values()), "scales");
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void unpackedValuesAreThoseOfBitsandbytes(Case golden) {
    PackedBlocks blocks = golden.quantize(tensors);
    assertEquals(golden.crc(), crc(Cases.unpack(blocks, golden.form(), new PlainDecoder())));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void vectorsGiveTheSameBits(Case golden) {
    BlockDecoder vector = Decoders.vector().orElse(null);
    org.junit.jupiter.api.Assumptions.assumeTrue(vector != null, "no Vector API here");
    PackedBlocks blocks = golden.quantize(tensors);
    for (Form type : Form.values()) {
      assertArrayEquals(
          Cases.unpack(blocks, type, new PlainDecoder()),
          Cases.unpack(blocks, type, vector),
          type.toString());
    }
  }

  private static long crc(byte[] bytes) {
    CRC32 crc = new CRC32();
    crc.update(bytes);
    return crc.getValue();
  }

  @Test
  void mapsAreThoseOfBitsandbytes() {
    for (QuantType type : QuantType.values()) {
      assertArrayEquals(
          golden(type.key() + "/quant_map"), NestedScales.littleEndian(type.codes()).array());
    }
    assertArrayEquals(
        golden("dynamic_map"), NestedScales.littleEndian(DynamicMap.SIGNED.values()).array());
  }

  @Test
  void theNormalFloatIsMadeOfQuantiles() {
    assertArrayEquals(QuantType.NF4.codes(), NormalFloat.values());
  }

  @Test
  void manyValuesAreSharedAmongThreads() {
    float[] values = new float[300_001];
    Cases.draw("many", values);
    PackedBlocks blocks = Cases.quantize(QuantType.NF4, 64, true, values);
    for (Form type : List.of(Form.FLOAT32, Form.BFLOAT16)) {
      byte[] all = Cases.unpack(blocks, type, Decoders.best());
      int width = type.bytes();
      float[] some = java.util.Arrays.copyOfRange(values, 196_608, 196_672);
      PackedBlocks alone = Cases.quantize(QuantType.NF4, 64, false, some);
      float[] scale = new float[1];
      blocks.scales().read(196_608 / 64, 1, scale);
      assertEquals(all.length, values.length * width);
      for (int i = 0; i < 64; i++) {
        int pair = alone.packed().get(i / 2);
        int code = i % 2 == 0 ? (pair >> 4) & 15 : pair & 15;
        float expected = QuantType.NF4.value(code) * scale[0];
        int at = (196_608 + i) * width;
        int bits = 0;
        for (int b = width - 1; b >= 0; b--) {
          bits = bits << 8 | (all[at + b] & 0xff);
        }
        assertEquals(type.bits(expected), bits);
      }
    }
  }

  @Test
  void whatIsNotFiniteIsRefusedByPath() {
    for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
      float[] values = new float[200];
      values[130] = bad;
      MalformedFileException refused =
          assertThrows(
              MalformedFileException.class, () -> Cases.quantize(QuantType.NF4, 64, false, values));
      assertTrue(refused.getMessage().contains("test: value 130 is " + bad));
    }
  }
}
