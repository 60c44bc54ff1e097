package io.peft4j.models.onnx;

import static io.peft4j.models.onnx.OnnxFiles.FLOAT;
import static io.peft4j.models.onnx.OnnxFiles.INT64;
import static io.peft4j.models.onnx.OnnxFiles.graph;
import static io.peft4j.models.onnx.OnnxFiles.node;
import static io.peft4j.models.onnx.OnnxFiles.read;
import static io.peft4j.models.onnx.OnnxFiles.tensor;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.MalformedFileException;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OnnxWeightsTest {
  private static float[] floats(OnnxTensor tensor) {
    FloatBuffer buffer = tensor.data().asFloatBuffer();
    float[] values = new float[buffer.remaining()];
    buffer.get(values);
    return values;
  }

  private static OnnxTensor only(ProtobufWriter tensor) {
    return read(graph(tensor)).initializers().values().iterator().next();
  }

  @Test
  void readsRawFloatsWithNameTypeAndShape() {
    OnnxTensor tensor = only(OnnxFiles.floats("w", new float[] {1, 2, 3, 4, 5, 6}, 2, 3));
    assertEquals("w", tensor.name());
    assertEquals(OnnxType.FLOAT, tensor.type());
    assertArrayEquals(new long[] {2, 3}, tensor.shape());
    assertEquals(6, tensor.elements());
    assertArrayEquals(new float[] {1, 2, 3, 4, 5, 6}, floats(tensor));
  }

  @Test
  void readsFloatListsPackedOneByOneAndMixed() {
    byte[] both = ProtobufWriter.floats(1.5f, -2);
    assertArrayEquals(new float[] {1.5f, -2}, floats(only(tensor("w", FLOAT, 2).bytes(4, both))));

    ProtobufWriter single = tensor("w", FLOAT, 1000);
    float[] expected = new float[1000];
    for (int i = 0; i < 1000; i++) {
      expected[i] = i * 0.5f;
      single.real(4, expected[i]);
    }
    assertArrayEquals(expected, floats(only(single)));

    ProtobufWriter mixed =
        tensor("w", FLOAT, 6).real(4, 9).bytes(4, both).bytes(4, both).real(4, 7);
    assertArrayEquals(new float[] {9, 1.5f, -2, 1.5f, -2, 7}, floats(only(mixed)));
  }

  @Test
  void readsIntegerListsPackedAndOneByOne() {
    ByteBuffer data = only(tensor("n", INT64, 2).integer(7, -3).integer(7, 1L << 40)).data();
    assertEquals(-3, data.getLong());
    assertEquals(1L << 40, data.getLong());
    byte[] packed = new ProtobufWriter().varint(300).varint(-1).toBytes();
    data = only(tensor("n", INT64, 2).bytes(7, packed)).data();
    assertEquals(300, data.getLong());
    assertEquals(-1, data.getLong());
  }

  @Test
  void readsPackedShapesScalarsAndEmptyTensors() {
    byte[] shape = new ProtobufWriter().varint(2).varint(1).toBytes();
    ProtobufWriter packed =
        new ProtobufWriter()
            .bytes(1, shape)
            .integer(2, FLOAT)
            .text(8, "w")
            .bytes(9, ProtobufWriter.floats(1, 2));
    assertArrayEquals(new long[] {2, 1}, only(packed).shape());
    assertEquals(1, only(OnnxFiles.floats("s", new float[] {4})).elements());
    assertEquals(0, only(tensor("e", FLOAT, 3, 0)).data().remaining());
  }

  @Test
  void readsNodesWithTheirAttributes() {
    ProtobufWriter node =
        node("Gemm", "/pooler/dense/Gemm", "y", "x", "", "b")
            .message(5, new ProtobufWriter().text(1, "alpha").real(2, 0.5f))
            .message(5, new ProtobufWriter().text(1, "transB").integer(3, 1))
            .message(5, new ProtobufWriter().text(1, "body").message(6, graph()))
            .message(
                5,
                new ProtobufWriter()
                    .text(1, "value")
                    .message(5, OnnxFiles.floats("", new float[] {3})));
    OnnxNode read = read(new ProtobufWriter().message(1, node)).nodes().get(0);
    assertEquals("Gemm", read.operator());
    assertEquals("/pooler/dense/Gemm", read.name());
    assertEquals(List.of("x", "", "b"), read.inputs());
    assertEquals(List.of("y"), read.outputs());
    assertEquals(0.5f, read.numbers().get("alpha"));
    assertEquals(1L, read.numbers().get("transB"));
    assertArrayEquals(new float[] {3}, floats(read.tensors().get("value")));
  }

  @Test
  void skipsFieldsItDoesNotKnow() {
    ProtobufWriter graph = graph(OnnxFiles.floats("w", new float[] {1}, 1));
    graph.integer(900, 5).text(901, "?").real(902, 1).tag(903, 1).raw(1, 2, 3, 4, 5, 6, 7, 8);
    assertEquals(1, read(graph).initializers().size());
  }

  @Test
  void keepsTheOrderOfTheFile() {
    float[] one = {1};
    OnnxWeights weights = read(graph(OnnxFiles.floats("z", one), OnnxFiles.floats("a", one)));
    assertEquals(List.of("z", "a"), List.copyOf(weights.initializers().keySet()));
    assertTrue(weights.initializer("b").isEmpty());
  }

  @Test
  void valuesCannotBeWrittenTo() {
    assertTrue(only(OnnxFiles.floats("w", new float[] {1}, 1)).data().isReadOnly());
  }

  @Test
  void filesStreamsAndResourcesGiveTheSame(@TempDir Path directory) throws IOException {
    float[] values = new float[700_000];
    values[699_999] = 42;
    byte[] model = OnnxFiles.model(graph(OnnxFiles.floats("w", values, values.length)));
    Path file = Files.write(directory.resolve("m.onnx"), model);
    assertTrue(file.toFile().setReadOnly());
    OnnxWeights mapped = OnnxWeights.open(file);
    OnnxWeights streamed = OnnxWeights.read(new ByteArrayInputStream(model), "m");
    OnnxWeights found;
    try (var loader = new java.net.URLClassLoader(new java.net.URL[] {directory.toUri().toURL()})) {
      found = OnnxWeights.resource(loader, "m.onnx");
    }
    for (OnnxWeights weights : List.of(mapped, streamed, found)) {
      assertArrayEquals(values, floats(weights.initializers().get("w")));
      assertTrue(weights.initializers().get("w").data().isDirect());
    }
  }

  @Test
  void saysWhatIsMissing(@TempDir Path directory) {
    Path absent = directory.resolve("absent.onnx");
    String message =
        assertThrows(MalformedFileException.class, () -> OnnxWeights.open(absent)).getMessage();
    assertTrue(message.contains("absent.onnx"), message);
    ClassLoader loader = getClass().getClassLoader();
    message =
        assertThrows(
                MalformedFileException.class, () -> OnnxWeights.resource(loader, "absent.onnx"))
            .getMessage();
    assertTrue(message.contains("class path"), message);
  }
}
