package io.peft4j.models.onnx;

import static io.peft4j.models.onnx.OnnxFiles.FLOAT;
import static io.peft4j.models.onnx.OnnxFiles.INT64;
import static io.peft4j.models.onnx.OnnxFiles.graph;
import static io.peft4j.models.onnx.OnnxFiles.model;
import static io.peft4j.models.onnx.OnnxFiles.read;
import static io.peft4j.models.onnx.OnnxFiles.tensor;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import com.sun.management.ThreadMXBean;
import io.peft4j.MalformedFileException;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

class OnnxHostileFilesTest {
  private static final long[] MANY = new long[33];

  static Stream<Arguments> hostile() {
    float[] one = {1};
    byte[] four = ProtobufWriter.floats(1);
    ProtobufWriter lying = tensor("w", FLOAT, 1 << 28).tag(9, 2).varint(1 << 30).raw(1, 2, 3, 4);
    Arrays.fill(MANY, 1);
    return Stream.of(
        arguments("no graph", new byte[0]),
        arguments("no graph", new ProtobufWriter().integer(1, 8).toBytes()),
        arguments(
            "second graph", new ProtobufWriter().message(7, graph()).message(7, graph()).toBytes()),
        arguments("not UTF-8", model(graph(tensor("w", FLOAT, 1).bytes(8, new byte[] {-1})))),
        arguments("wire type 3", new ProtobufWriter().tag(7, 3).toBytes()),
        arguments("field number 0", new ProtobufWriter().tag(0, 2).varint(0).toBytes()),
        arguments("field number", new ProtobufWriter().varint(1L << 40).toBytes()),
        arguments("wire type 2), was", new ProtobufWriter().integer(7, 5).toBytes()),
        arguments("breaks off", new ProtobufWriter().raw(0x80, 0x80).toBytes()),
        arguments(
            "64 bits",
            new ProtobufWriter()
                .raw(0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02)
                .toBytes()),
        arguments(
            "64 bits",
            new ProtobufWriter()
                .raw(0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01)
                .toBytes()),
        arguments("are left", new ProtobufWriter().tag(7, 2).varint(1 << 30).toBytes()),
        arguments("are left", new ProtobufWriter().tag(7, 2).varint(-1).toBytes()),
        arguments("are left", new ProtobufWriter().tag(4, 1).raw(1, 2, 3).toBytes()),
        arguments("1073741824 bytes, but 4 are left", model(graph(lying))),
        arguments(
            "are left", model(graph(tensor("w", FLOAT, 2).tag(4, 2).varint(99).raw(0, 0, 0, 0)))),
        arguments("negative size -1", model(graph(OnnxFiles.floats("w", one, -1)))),
        arguments("more than 32 dimensions", model(graph(OnnxFiles.floats("w", one, MANY)))),
        arguments("impossible shape", model(graph(OnnxFiles.floats("w", one, 1L << 40, 1L << 40)))),
        arguments(
            "impossible shape", model(graph(OnnxFiles.floats("w", one, 0, 1L << 40, 1L << 40)))),
        arguments("12 bytes of values, has 4", model(graph(OnnxFiles.floats("w", one, 3)))),
        arguments("12 bytes of values, has 0", model(graph(tensor("w", FLOAT, 3)))),
        arguments("raw bytes twice", model(graph(OnnxFiles.floats("w", one, 1).bytes(9, four)))),
        arguments("multiple of 4", model(graph(tensor("w", FLOAT, 1).bytes(4, new byte[5])))),
        arguments("element type 0", model(graph(tensor("w", 0, 1).bytes(9, four)))),
        arguments("element type 99", model(graph(tensor("w", 99, 1).bytes(9, four)))),
        arguments("64-bit integers", model(graph(tensor("w", FLOAT, 1).integer(7, 1)))),
        arguments(
            "integers", model(graph(tensor("w", INT64, 1 << 21).bytes(7, new byte[1 << 21])))),
        arguments("another file", model(graph(tensor("w", FLOAT, 1).integer(14, 1)))),
        arguments("another file", model(graph(tensor("w", FLOAT, 1).message(13, graph())))),
        arguments("segments", model(graph(OnnxFiles.floats("w", one, 1).message(3, graph())))),
        arguments(
            "two initializers named 'w'",
            model(graph(OnnxFiles.floats("w", one, 1), OnnxFiles.floats("w", one, 1)))),
        arguments("no name", model(graph(OnnxFiles.floats("", one, 1)))),
        arguments("a text takes", model(graph(OnnxFiles.floats("w".repeat(70_000), one, 1)))));
  }

  @ParameterizedTest(name = "{index}: {0}")
  @MethodSource("hostile")
  void isRefusedWithoutAllocatingWhatItClaims(String reason, byte[] model) {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long before = threads.getCurrentThreadAllocatedBytes();
    MalformedFileException error = assertThrows(MalformedFileException.class, () -> read(model));
    long allocated = threads.getCurrentThreadAllocatedBytes() - before;
    assertTrue(error.getMessage().startsWith("test.onnx: "), error.getMessage());
    assertTrue(error.getMessage().contains(reason), error.getMessage());
    assertTrue(allocated < (1 << 20) + 16L * model.length, "allocated " + allocated);
  }

  @Test
  void endlessTinyNodesAreRefused() {
    byte[] nodes = new byte[2 * ((1 << 22) + 1)];
    for (int i = 0; i < nodes.length; i += 2) {
      nodes[i] = 1 << 3 | 2;
    }
    byte[] model = new ProtobufWriter().bytes(7, nodes).toBytes();
    MalformedFileException error = assertThrows(MalformedFileException.class, () -> read(model));
    assertTrue(error.getMessage().contains("too many"), error.getMessage());
  }

  @Test
  void valuesInAFormThatIsNotReadAreRefusedWhenAskedFor() {
    OnnxWeights weights =
        read(
            graph(
                tensor("words", 8, 1).text(6, "a word"),
                tensor("flags", 9, 2).integer(5, 1).integer(5, 0)));
    for (String name : weights.initializers().keySet()) {
      OnnxTensor tensor = weights.initializers().get(name);
      MalformedFileException error = assertThrows(MalformedFileException.class, tensor::data);
      assertTrue(error.getMessage().contains("'" + name + "'"), error.getMessage());
    }
  }
}
